"""Tests of who writes patch.prom, and when: what is not known, who looked last, the units of boot and of every hour."""
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_cli as cli                  # noqa: E402
from module_utils import homelab_metrics as metrics          # noqa: E402
from module_utils import homelab_plan as plan                # noqa: E402
from module_utils import homelab_reboot as reboot            # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_timer as timer              # noqa: E402
from module_utils import homelab_unit as unit                # noqa: E402

# As they are without the patches below.
PENDING, REQUIRED = plan.pending, reboot.required


def waiting(number):
    return dict.fromkeys(('security', 'other', 'held', 'kept_back'), number)


class Host(unittest.TestCase):
    """What the host has to say is the test's; state directory and textfiles are folders of the test's."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for module in (system, metrics, unit, cli):
            for name in ('STATE', 'LOCK', 'METRICS', 'REQUEST', 'RESULT', 'BEFORE'):
                if hasattr(module, name):
                    self.patch(module, name, os.path.join(self.folder, name))
        self.pending, self.required = waiting(2), True
        self.patch(metrics.plan, 'pending', lambda *_: self.pending)
        self.patch(metrics.reboot, 'required', lambda *_: self.required)

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def publish(self, **how):
        self.assertEqual(metrics.publish(self.folder, **how), '')
        return self.prom()

    def prom(self):
        lines = system.read_text(os.path.join(self.folder, 'patch.prom')).splitlines()
        return {name[len('homelab_patch_'):]: int(value) for name, value in
                (line.split(' ') for line in lines if not line.startswith('#'))}


class Unknown(Host):
    def test_what_cannot_be_found_out_stays_as_it_was(self):
        self.publish(upgraded=3, success=True)
        self.pending, self.required = None, None
        prom = self.publish()
        self.assertEqual((prom['reboot_required'], prom['packages_pending{kind="other"}'], prom['packages_upgraded']), (1, 2, 3))
        self.pending, self.required = waiting(0), False
        prom = self.publish()
        self.assertEqual((prom['reboot_required'], prom['packages_pending{kind="other"}'], prom['packages_upgraded']), (0, 0, 3))

    def test_what_was_never_known_is_left_out(self):
        self.pending, self.required = None, None
        self.assertEqual(sorted(self.publish()), ['held', 'last_success_unixtime', 'packages_upgraded'])

    def test_apt_that_cannot_plan_is_no_zero(self):
        for code, out in ((100, ''), (0, 'Inst something that nobody can read\n')):
            with mock.patch.object(plan.apt, 'run', lambda *_, c=code, o=out, **__: subprocess.CompletedProcess([], c, o, 'E: Unmet dependencies')):
                self.assertIsNone(PENDING())

    def test_needrestart_that_fails_is_no_all_clear(self):
        for code, services, want in ((0, '', False), (127, '', False), (124, '', None), (1, '', None),
                                     (0, 'NEEDRESTART-SVC: dbus.service\n', True), (1, 'NEEDRESTART-SVC: dbus.service\n', True)):
            with mock.patch.object(reboot, 'run', lambda argv, c=code, s=services, **_: subprocess.CompletedProcess(
                    argv, c if argv[0] == 'needrestart' else 0, s, '')), \
                    mock.patch.object(reboot, 'REQUIRED', '/nowhere'), mock.patch.object(reboot, 'installed', dict):
                self.assertIs(REQUIRED(), want, (code, services))

    def test_our_own_units_are_no_reason(self):
        said = ''.join('NEEDRESTART-SVC: %s\n' % name for name in call.OURS + ('cron.service',))
        self.assertEqual(reboot.parse_needrestart(said)['services'], ['cron.service'])
        self.assertIn(timer.SERVICE, call.OURS)


class Writers(Host):
    def test_who_looked_last_is_believed_whoever_writes_last(self):
        looking, written = threading.Event(), threading.Event()

        def slow(*_):
            looking.set()
            self.assertTrue(written.wait(10))
            return True                             # as it was before somebody mended it
        with mock.patch.object(metrics.reboot, 'required', slow):
            thread = threading.Thread(target=self.publish)
            thread.start()
            self.assertTrue(looking.wait(10))
        self.required, self.pending = False, waiting(0)
        self.publish(upgraded=7, success=True)
        self.pending = waiting(2)
        written.set()
        thread.join()
        prom = self.prom()
        self.assertEqual((prom['reboot_required'], prom['packages_pending{kind="other"}'], prom['packages_upgraded']), (0, 0, 7))
        self.assertGreater(prom['last_success_unixtime'], 0)

    def test_a_clock_that_was_put_back_stops_no_writer(self):
        with mock.patch.object(metrics.time, 'time', lambda: 1e12):
            self.publish()
        self.required = False
        self.assertEqual(self.publish()['reboot_required'], 0)

    def test_what_a_killed_writer_left_is_removed(self):
        for name in ('patch.prom.4711.new', 'other.prom.4711.new'):
            with open(os.path.join(self.folder, name), 'w', encoding='utf-8'):
                pass
        self.publish()
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith('.new')], ['other.prom.4711.new'])

    def test_the_state_of_an_older_program_is_understood(self):
        system.write_json(metrics.METRICS, {'last_success': 5, 'upgraded': 6})
        self.assertEqual((self.publish()['last_success_unixtime'], self.prom()['packages_upgraded']), (5, 6))


class Command(Host):
    """homelab-patch metrics: it fails only where it cannot write."""

    def call(self, *args):
        said = io.StringIO()
        with mock.patch.object(cli.os, 'geteuid', lambda: 0), contextlib.redirect_stderr(said):
            return cli.main(['metrics'] + list(args)), said.getvalue()

    def test_the_folder_of_the_last_run(self):
        system.write_json(cli.REQUEST, {'run': 'r', 'policy': {'textfile_dir': self.folder}})
        self.assertEqual(self.call(), (0, ''))
        self.assertEqual(self.prom()['reboot_required'], 1)

    def test_a_missing_folder(self):
        code, said = self.call('--textfile-dir', self.folder + '/no')
        self.assertEqual(code, 0)
        self.assertIn('/no does not exist', said)

    def test_what_cannot_be_written(self):
        os.mkdir(os.path.join(self.folder, 'patch.prom'))
        code, said = self.call('--textfile-dir', self.folder)
        self.assertEqual(code, 1)
        self.assertRegex(said, r'patch.prom is not written: \S+patch.prom\S*: Is a directory\n$')


class Units(Host):
    def setUp(self):
        super().setUp()
        self.calls, self.code = [], 0
        self.patch(timer, 'UNITS', os.path.join(self.folder, 'units'))
        self.patch(timer, 'has_systemd', lambda: True)
        self.patch(timer, 'run', self.run_systemctl)
        os.mkdir(timer.UNITS)

    def run_systemctl(self, argv, **_):
        self.calls.append(' '.join(argv[1:]))
        if 'enable' in argv:
            for link in timer.ENABLED:
                path = os.path.join(timer.UNITS, link)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    os.symlink(os.path.join(timer.UNITS, os.path.basename(link)), path)
        return subprocess.CompletedProcess(argv, self.code, '', 'no bus' if self.code else '')

    def path(self, name):
        return os.path.join(timer.UNITS, name)

    def test_installed_once(self):
        self.assertEqual(timer.install('/textfiles'), (True, ''))
        self.assertEqual(self.calls, ['daemon-reload', 'enable --quiet homelab-patch-prom.service homelab-patch-prom.timer',
                                      'restart homelab-patch-prom.timer'])
        self.calls.clear()
        self.assertEqual(timer.install('/textfiles'), (False, ''))
        self.assertEqual(self.calls, [])
        self.assertEqual(os.stat(self.path(timer.SERVICE)).st_mode & 0o777, 0o644)

    def test_put_right(self):
        def change():
            with open(self.path(timer.TIMER), 'a', encoding='utf-8') as f:
                f.write('OnCalendar=daily\n')
        for what in (change, lambda: os.unlink(self.path(timer.SERVICE)), lambda: os.unlink(self.path(timer.ENABLED[1]))):
            timer.install('/textfiles')
            what()
            self.assertEqual(timer.install('/textfiles'), (True, ''))
            self.assertEqual(timer.install('/textfiles'), (False, ''))
        self.assertEqual(timer.install('/elsewhere'), (True, ''))
        self.assertIn('metrics --textfile-dir "/elsewhere"\n', system.read_text(self.path(timer.SERVICE)))

    def test_what_goes_wrong_is_a_warning(self):
        self.code = 1
        changed, said = timer.install('/textfiles')
        self.assertTrue(changed)
        self.assertIn('systemctl daemon-reload: no bus', said)
        shutil.rmtree(timer.UNITS)
        self.assertIn('No such file or directory', timer.install('/textfiles')[1])

    def test_a_masked_unit_is_left_alone(self):
        os.symlink('/dev/null', self.path(timer.TIMER))
        self.assertEqual(timer.install('/textfiles'), (False, ''))
        self.assertEqual((os.listdir(timer.UNITS), self.calls), ([timer.TIMER], []))

    def test_no_systemd(self):
        with mock.patch.object(timer, 'has_systemd', lambda: False):
            self.assertEqual(timer.install('/textfiles'), (False, ''))
        self.assertEqual(os.listdir(timer.UNITS), [])

    def test_recorded_where_an_upgrade_was_made_and_not_on_a_host_on_hold(self):
        policy = {'textfile_dir': self.folder}
        system.write_json(unit.RESULT, {'run': 'r', 'published': False, 'pending': waiting(0),
                                        'result': dict(system.empty_result('r'))})
        self.assertEqual(unit.record('held', policy, False), (False, []))
        self.assertEqual(os.listdir(timer.UNITS), [])
        self.assertEqual(unit.record('r', policy, True), (True, []))
        self.assertEqual(unit.record('r', policy, True), (False, []))
        self.assertEqual(self.prom()['reboot_required'], 0)

    def test_a_hold_publishes_no_upgrade(self):
        """A run that had upgraded the host died, somebody put it on hold, and the run is gone on with."""
        left = {'run': 'r', 'published': False, 'pending': waiting(0), 'result': dict(system.empty_result('r'))}
        system.write_json(unit.RESULT, left)
        system.write_json(unit.BEFORE, {'packages': {}})
        unit.record('r', {'textfile_dir': self.folder}, False, held=True)
        self.assertEqual((system.read_json(unit.RESULT), system.read_json(unit.BEFORE)), (left, {'packages': {}}))

    @unittest.skipUnless(shutil.which('systemd-analyze') or os.environ.get('E2E_REQUIRED') == '1', 'no systemd here')
    def test_systemd_understands_them(self):
        odd = self.folder + '/text files, 100% "odd" $HOME \\n'
        os.mkdir(odd)
        timer.install(odd)
        done = system.run(['systemd-analyze', 'verify', '--man=no', self.path(timer.SERVICE), self.path(timer.TIMER)])
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_a_path_is_read_back_as_it_was(self):
        self.assertEqual(timer.quoted('/a b/100%/"c"\\'), '"/a b/100%%/\\"c\\"\\\\"')


if __name__ == '__main__':
    unittest.main()
