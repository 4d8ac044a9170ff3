"""Tests of the unit's own steps: its log, its last look at dpkg, and what it remembers of a reboot that did not help."""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_reboot as reboot            # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_unit as unit                # noqa: E402
from module_utils import homelab_upgrade as upgrade          # noqa: E402

UNMENDED = """\
The following packages are only half configured, probably due to problems
configuring them the first time.  The configuration should be retried using
dpkg --configure <package> or the configure menu option in dselect:
 lab-app              made up
"""
NO_CHECKSUMS = """\
The following packages are missing the md5sums control file in the
database, they need to be reinstalled:
 vendor-tool          made up

"""


class Files(unittest.TestCase):
    """The state directory is a folder of the test's."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.patch(upgrade.freeze, 'FOLDER', os.path.join(self.folder, 'cache'))
        for module in (system, reboot, unit, upgrade):
            for name in ('STATE', 'LOCK', 'APT_LOG', 'APT_STATUS', 'BEFORE', 'FUTILE', 'PROGRESS', 'REQUEST', 'RESULT'):
                if hasattr(module, name):
                    self.patch(module, name, os.path.join(self.folder, name))

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def step(self):
        return upgrade.Upgrade({'run': 'r', 'policy': {'textfile_dir': self.folder}})



class Progress(Files):
    """How far the unit is, for who reads it and for who draws it."""

    def test_each_package_counts_once(self):
        self.assertEqual(unit.progress('r', 'r'), {
            'msg': 'still running, just started', 'progress': {'phase': 'just started', 'done': 0, 'total': 0}})
        self.step().progress('upgrade', 3)
        with open(unit.APT_STATUS, 'w', encoding='utf-8') as f:
            f.write('pmstatus:lab-app:10:Preparing lab-app (amd64)\npmstatus:lab-app:20:Installed lab-app (amd64)\n'
                    'pmstatus:lab-app:25:Installed lab-app (amd64)\npmstatus:lab-sec:30:Installed lab-sec (amd64)\npmsta')
        self.assertEqual(unit.progress('other', 'r'), {
            'msg': 'still running, upgrade, 2 of 3 packages (begun by run other)',
            'progress': {'phase': 'upgrade', 'done': 2, 'total': 3}})

class Log(Files):
    def test_each_step_is_kept_and_reaches_the_journal(self):
        told = []
        self.patch(upgrade, 'tell', lambda text: told.append(text))
        for name, value in (('installed', dict), ('failed_units', list), ('dist_files', list)):
            self.patch(upgrade.apt if name == 'installed' else upgrade, name, value)
        step = self.step()
        with open(upgrade.APT_LOG, 'w', encoding='utf-8') as f:
            f.write('of the run before\n')
        step.begin()
        self.assertEqual(step.call(['sh', '-c', 'echo one; echo oops >&2; exit 3']), (3, 'one\noops\n'))
        self.assertEqual(step.call(['echo', 'two']), (0, 'two\n'))
        self.assertEqual(system.read_text(upgrade.APT_LOG), 'one\noops\ntwo\n')
        self.assertEqual(b''.join(told), b'one\noops\ntwo\n')

    def test_telling_survives_a_journal_that_is_gone(self):
        code = 'import sys; sys.path.insert(0, %r); from module_utils import homelab_upgrade as u; u.tell("x"); u.tell(b"y"); ' \
               'sys.stderr.write("on")' % sys.path[0]
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([sys.executable, '-B', '-c', code], stdout=write, stderr=subprocess.PIPE, check=False)
        os.close(write)
        self.assertEqual((done.returncode, done.stderr), (0, b'on'))


class Done(Files):
    """What apt-get was to do is looked for where it has done it."""

    def apt_get(self, before, after, names):
        said = iter((before, after))
        self.patch(upgrade.apt, 'installed', lambda: next(said))
        self.patch(upgrade.Upgrade, 'call', lambda *_, **__: (0, 'Download complete and in download only mode'))
        self.step().apt_get(['upgrade'], names)

    def test_what_was_changed_installed_and_removed(self):
        self.apt_get({'a': '1', 'c': '1', 'd': '1'}, {'a': '2', 'b': '2', 'd': '1'}, ['a', 'b', 'c'])

    def test_success_that_changed_nothing_is_none(self):
        for before, names, words in (({'a': '1', 'c': '1'}, ['a', 'c'], 'not touched a, c: '), ({}, ['b'], 'not touched b: '),
                                     (dict.fromkeys('abcd', '1'), list('abcd'), 'not touched a, b, c, …: ')):
            with self.assertRaisesRegex(upgrade.Failure, words) as caught:
                self.apt_get(before, before, names)
            self.assertEqual(caught.exception.phase, 'upgrade')


class Services(Files):
    def restart(self, problem, kept=()):
        self.patch(upgrade.reboot, 'needrestart', lambda: {'kernel': 0, 'services': ['a.service', 'b.service'], 'problem': problem})
        self.patch(upgrade.reboot, 'overridden', lambda services: list(kept))
        self.patch(upgrade.reboot, 'state', lambda *_: ({'running': 'x', 'installed': '', 'state': 'unknown'}, []))
        self.patch(upgrade.apt, 'installed', lambda: {'a': '2'})
        self.patch(upgrade, 'failed_units', list)
        self.patch(upgrade, 'run', lambda argv, timeout: subprocess.CompletedProcess(argv, 0, '', ''))
        step = self.step()
        step.before = {'a': '1'}
        step.restart_services()
        return step.result

    def test_what_needrestart_is_set_to_leave_alone_is_told(self):
        result = self.restart('', ['b.service'])
        self.assertEqual(result['services_restarted'], ['a.service'])
        self.assertEqual(result['warnings'], ['old code runs in b.service, which needrestart is set to leave alone'])

    def test_a_needrestart_that_fails_is_a_failure(self):
        with self.assertRaisesRegex(upgrade.Failure, 'needrestart failed') as caught:
            self.restart('needrestart failed')
        self.assertEqual(caught.exception.phase, 'needrestart')

    def test_a_systemd_that_gives_no_answer_has_not_said_that_all_is_well(self):
        self.patch(system, 'has_systemd', lambda: True)
        for code, out, err in ((1, '', 'no bus'), (124, '', 'took more than 60 s')):
            with mock.patch.object(system, 'run', lambda argv, timeout: subprocess.CompletedProcess(argv, code, out, err)):
                with self.assertRaisesRegex(upgrade.Failure, err):
                    system.failed_units()


class End(Files):
    def finish(self, audit, failure=None):
        if audit is not None:
            self.patch(upgrade.apt, 'audit', lambda: audit)
        self.patch(upgrade.plan, 'pending', lambda **_: {})
        self.patch(upgrade.reboot, 'state', lambda *_: ({'running': 'x', 'installed': '', 'state': 'unknown'}, []))
        self.patch(upgrade, 'tell', lambda text: None)
        step = self.step()
        step.result['failure'] = failure
        step.finish()
        return system.read_json(upgrade.RESULT)['result']['failure']

    def test_dpkg_in_disorder_is_a_failure_although_apt_succeeded(self):
        failure = self.finish(UNMENDED)
        self.assertEqual((failure['phase'], failure['detail']), ('dpkg', UNMENDED))
        self.assertIn('dpkg is not in order', failure['reason'])

    def test_a_dpkg_that_cannot_be_asked_is_not_in_order(self):
        def audit():
            raise upgrade.Failure('dpkg', 'dpkg --audit: unknown option')
        self.patch(upgrade.apt, 'audit', audit)
        failure = self.finish(None)
        self.assertEqual((failure['phase'], failure['reason']), ('dpkg', 'dpkg --audit: unknown option'))

    def test_dpkg_in_order(self):
        self.assertIsNone(self.finish(''))

    def test_the_first_failure_stands(self):
        first = {'phase': 'upgrade', 'reason': 'no'}
        self.assertEqual(self.finish(UNMENDED, first), first)

    def test_a_package_without_checksums_is_in_order(self):
        self.assertEqual(apt.parse_audit(NO_CHECKSUMS), '')
        self.assertEqual(apt.parse_audit(NO_CHECKSUMS + UNMENDED), UNMENDED.strip('\n'))


class Reboot(Files):
    def setUp(self):
        super().setUp()
        self.boot, self.reasons = 'first', ['asked for by linux', 'dbus runs old code']
        for module in (reboot, unit):
            self.patch(module, 'boot_id', lambda: self.boot)
        self.patch(unit.homelab_reboot, 'state', lambda *_: ({'running': 'x'}, list(self.reasons)))
        self.patch(unit, 'finished_starting', lambda wait: 'running')
        self.patch(unit, 'failed_units', list)

    def judge(self):
        result = system.empty_result('r')
        reboot.judge(result, {}, self.reasons)
        return result

    def restart(self):
        result = self.judge()
        system.write_json(unit.RESULT, {'run': 'r', 'published': False, 'boot_id': self.boot, 'result': result})
        self.boot += '+'
        return unit.settle('r', 0)

    def test_one_that_did_not_help_is_not_tried_again(self):
        self.assertFalse(self.judge()['reboot_futile'])
        settled = self.restart()
        self.assertEqual((settled['reboot_required'], settled['reboot_futile'], len(settled['warnings'])), (True, True, 2))
        again = self.judge()
        self.assertTrue(again['reboot_required'] and again['reboot_futile'])
        self.assertEqual(again['warnings'][0], 'reboot did not help: asked for by linux')

    def test_until_the_reasons_change(self):
        self.restart()
        self.reasons = self.reasons[:1]
        self.assertTrue(self.judge()['reboot_futile'])
        self.reasons = self.reasons + ['another']
        self.assertFalse(self.judge()['reboot_futile'])
        self.assertEqual(self.judge()['warnings'], [])

    def test_until_a_package_changes(self):
        # the same words may then speak of other code
        self.restart()
        self.assertTrue(self.judge()['reboot_futile'])
        self.patch(reboot, 'dpkg_time', lambda: -1)
        self.assertFalse(self.judge()['reboot_futile'])

    def test_asked_twice_the_answer_is_the_same(self):
        self.reasons = ['old']
        result = self.judge()
        system.write_json(unit.RESULT, {'run': 'r', 'published': False, 'boot_id': self.boot, 'result': result})
        self.boot, self.reasons = 'second', ['new']
        first = unit.settle('r', 0)
        self.assertEqual(first['warnings'], [])
        self.assertEqual(unit.settle('r', 0), first)

    def test_until_the_host_was_restarted_by_somebody(self):
        self.restart()
        self.boot = 'third'
        self.assertFalse(self.judge()['reboot_futile'])

    def test_one_that_helped_leaves_no_memory(self):
        self.restart()
        self.reasons = []
        self.assertFalse(self.restart()['reboot_futile'])
        self.assertFalse(os.path.exists(reboot.FUTILE))

    def test_a_host_that_is_still_in_the_same_boot(self):
        system.write_json(unit.RESULT, {'run': 'r', 'boot_id': self.boot, 'result': self.judge()})
        with self.assertRaisesRegex(system.Failure, 'still the same boot'):
            unit.settle('r', 0)


class Published(Files):
    def test_a_run_that_began_meanwhile_keeps_its_files(self):
        theirs = {'run': 'new', 'published': False}
        mine = {'run': 'old', 'published': False, 'pending': {}, 'result': dict(system.empty_result('old'))}
        for meanwhile, want, before in ((None, dict(mine, published=True), False), (theirs, theirs, True)):
            system.write_json(unit.RESULT, mine)
            system.write_json(unit.BEFORE, {})
            with mock.patch.object(unit.homelab_timer, 'install', lambda folder: (False, '')), \
                    mock.patch.object(unit.homelab_metrics, 'publish',
                                      lambda *_, doc=meanwhile: system.write_json(unit.RESULT, doc) if doc else ''):
                unit.record('old', {'textfile_dir': self.folder}, True)
            self.assertEqual(system.read_json(unit.RESULT), want)
            self.assertEqual(os.path.exists(unit.BEFORE), before)


if __name__ == '__main__':
    unittest.main()
