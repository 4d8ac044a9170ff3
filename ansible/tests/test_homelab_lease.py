"""Tests of what keeps ansible-pull and patching apart, and of what a pull leaves behind: who writes, and who reads."""
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stdout
from unittest import mock

sys.dont_write_bytecode = True
ROLES = os.path.join(os.path.dirname(__file__), '..', 'roles')
sys.path.insert(0, os.path.join(ROLES, 'patching'))
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_lease as lease              # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_unit as unit                # noqa: E402


def program():
    """The file that the role ansible_pull installs, as a module."""
    loader = importlib.machinery.SourceFileLoader('homelab_ansible_pull', os.path.join(ROLES, 'ansible_pull/files/homelab-ansible-pull'))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('homelab_ansible_pull', loader))
    loader.exec_module(module)
    return module


pull = program()


class Host(unittest.TestCase):
    """All files are in a folder of the test's; no unit is at work unless the test says so."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.working, self.boot = folder.name, set(), 'one'
        for module, name, at in ((system, 'STATE', ''), (system, 'LOCK', 'lock'), (lease, 'LEASE', 'lease.json'),
                                 (pull, 'LEASE', 'lease.json'), (pull, 'STATE', ''), (pull, 'HOLD', 'MAINTENANCE')):
            self.patch(module, name, os.path.join(self.folder, at) if at else self.folder)
        self.patch(lease, 'boot_id', lambda: self.boot)
        self.patch(pull, 'boot_id', lambda: self.boot)
        self.patch(pull, 'at_work', lambda name: name in self.working)
        env = mock.patch.dict(os.environ, HOMELAB_PULL_RUN_LEASE=self.path('run.json'), HOMELAB_PULL_TEXTFILES=self.folder)
        env.start()
        self.addCleanup(env.stop)

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as f:
            f.write(text)

    def call(self, step):
        """(exit code, what it printed) of a step of the program."""
        said = io.StringIO()
        with redirect_stdout(said):
            code = pull.main([step])
        return code, said.getvalue()

    def forbidden(self):
        """Why a pull must not begin now."""
        return pull.why_not()[1]

    def prom(self):
        with open(self.path('ansible_pull.prom'), encoding='utf-8') as f:
            text = f.read()
        self.assertEqual(os.stat(self.path('ansible_pull.prom')).st_mode & 0o777, 0o644)
        self.assertTrue(text.endswith('\n'))
        return {name[len('homelab_ansible_pull_'):]: int(value) for name, value in
                (line.rsplit(' ', 1) for line in text.splitlines() if not line.startswith('#'))}


class Lease(Host):
    def test_it_forbids_to_pull_until_it_is_given_up(self):
        self.assertEqual(self.forbidden(), '')
        lease.take('a')
        self.assertIn('run a has the lease until', self.forbidden())
        self.assertEqual(os.stat(self.path('lease.json')).st_mode & 0o777, 0o600)
        lease.give_up('b')
        self.assertIn('run a', self.forbidden())
        lease.give_up('a')
        lease.give_up('a')
        self.assertEqual(self.forbidden(), '')

    def test_it_ends_by_itself(self):
        lease.take('a')
        for seconds, good in ((0, True), (lease.LIFE - 2, True), (lease.LIFE + 1, False), (-lease.LIFE * 2, False)):
            with self.subTest(seconds):
                self.assertEqual(bool(pull.leased(self.path('lease.json'), time.time() + seconds, 'one')), good)
        self.assertEqual(lease.LIFE, pull.LIFE)

    def test_it_is_of_a_boot(self):
        lease.take('a')
        self.boot = 'two'
        self.assertEqual(self.forbidden(), '')
        lease.take('a', restart=True)
        self.boot = 'three'
        self.assertIn('run a', self.forbidden())

    def test_it_forbids_no_longer_than_the_unit_is_at_work(self):
        self.working.add(pull.PATCH)
        self.assertIn('homelab-patch.service is at work', self.forbidden())     # without any lease, or with one long past
        self.working.clear()
        self.assertEqual(self.forbidden(), '')

    def test_the_one_of_a_run_forbids_as_well(self):
        self.write('run.json', json.dumps({'version': 1, 'run': 'r', 'boot_id': '', 'expires': time.time() + 60}))
        self.assertIn('run r', self.forbidden())

    def test_what_cannot_be_understood_is_good_for_an_hour(self):
        for text in ('', '{', '[]', 'null', '{"version": 1, "run": "a"}', '{"version": 1, "run": "a", "boot_id": "", "expires": "x"}',
                     '{"version": 2, "run": "a", "boot_id": "one", "expires": 1}', '\xff\xfe'):
            with self.subTest(text):
                self.write('lease.json', text)
                self.assertIn('cannot be read', self.forbidden())
                then = time.time() - lease.LIFE - 1
                os.utime(self.path('lease.json'), (then, then))
                self.assertEqual(self.forbidden(), '')
                lease.take('a')
                self.assertIn('run a', self.forbidden())

    def test_renewing_writes_seldom_and_keeps_since_when(self):
        since = lease.take('a')
        before = os.stat(self.path('lease.json')).st_ino
        self.assertEqual(lease.take('a'), since)
        self.assertEqual(os.stat(self.path('lease.json')).st_ino, before)
        now = time.time
        with mock.patch.object(lease.time, 'time', lambda: now() + 120):
            self.assertEqual(lease.take('a'), since)
            self.assertGreater(lease.take('b'), since + 100)        # another run's, from now on
        with mock.patch.object(lease.time, 'time', lambda: now() + 2 * lease.LIFE):
            self.assertGreater(lease.take('b'), since + lease.LIFE)     # it had run out meanwhile


class Patching(Host):
    """upgrade() and record() under the lease."""

    def setUp(self):
        super().setUp()
        self.started = []
        for name in ('REQUEST', 'RESULT', 'PROGRESS'):
            self.patch(unit, name, self.path(name))
        self.patch(unit, 'has_systemd', lambda: True)
        self.patch(unit, 'at_work', lambda *names: self.working.intersection(names))
        self.patch(unit, 'boot_id', lambda: self.boot)
        self.patch(unit, 'start', self.start)
        self.patch(unit.time, 'sleep', lambda _seconds: None)

    def start(self, run, _policy, _plan=None, _back=None):
        self.assertNotIn(call.PULL, self.working)
        self.assertIn('run ' + run, self.forbidden())       # the lease comes first
        self.started.append(run)
        system.write_json(unit.REQUEST, {'run': run})
        system.write_json(unit.RESULT, {'run': run, 'boot_id': self.boot, 'changed': True, 'result': {'rebooted': False}})

    def upgrade(self, timeout=300):
        return unit.upgrade('a', {'lock_timeout': timeout}, 0)

    def test_a_pull_at_work_is_waited_for(self):
        self.working.add(call.PULL)
        waiting = self.upgrade()
        self.assertEqual((waiting['state'], self.started), ('running', []))
        self.assertIn('ansible-pull', waiting['msg'])
        self.assertIn('run a', self.forbidden())        # the next one does not begin
        self.working.clear()
        self.patch(unit.time, 'monotonic', iter(range(9)).__next__)
        self.assertEqual(unit.upgrade('a', {'lock_timeout': 300}, 5)['state'], 'done')
        self.assertEqual(self.started, ['a'])
        self.boot = 'two'
        self.assertIn('run a', self.forbidden())        # over the restart that may come now

    def test_one_that_does_not_end_is_a_failure_before_anything_is_changed(self):
        self.working.add(call.PULL)
        self.upgrade()
        now = time.time
        with mock.patch.object(lease.time, 'time', lambda: now() + 301), self.assertRaises(system.Failure) as failure:
            self.upgrade()
        self.assertEqual((failure.exception.phase, self.started), ('pull', []))
        self.assertIn('homelab-ansible-pull.service is still at work on the host after 300 s', failure.exception.reason)

    def test_no_answer_is_a_pull_at_work(self):
        for answer, busy in (('ActiveState=inactive\n', False), ('ActiveState=failed\n', False), ('ActiveState=activating\n', True),
                             ('ActiveState=deactivating\n', True), ('', True)):
            with self.subTest(answer), mock.patch.object(system, 'run', lambda *_, **__: subprocess.CompletedProcess([], 0, answer, '')):
                self.assertEqual(system.unit_active(call.PULL), busy)

    def test_several_units_are_one_question(self):
        said = []

        def run(argv, **_):
            said.append(argv)
            return subprocess.CompletedProcess(argv, 0, 'ActiveState=inactive\n\nActiveState=activating\n\nActiveState=failed\n', '')
        with mock.patch.object(system, 'run', run):
            self.assertEqual(system.at_work('a', 'b', 'c'), {'b'})
        self.assertEqual([argv[-3:] for argv in said], [['a', 'b', 'c']])

    def test_an_answer_that_is_not_understood_is_units_at_work(self):
        inactive = 'ActiveState=inactive\n'
        for answer in ('', inactive, inactive * 3, 'Failed to connect to bus\n', inactive + '\nActiveState=\n',
                       inactive + '\nActiveState=not active\n', inactive + '\nactivestate=inactive\n'):
            with self.subTest(answer), mock.patch.object(system, 'run', lambda *_, **__: subprocess.CompletedProcess([], 0, answer, '')):
                self.assertIn('b', system.at_work('a', 'b'))
        for code in (124, 127):     # what run says of a systemctl that is slow, or none
            with mock.patch.object(system, 'run', lambda *_, **__: subprocess.CompletedProcess([], code, '', 'no')):
                self.assertEqual(system.at_work('a', 'b'), {'a', 'b'})

    def test_record_lets_the_pull_at_the_host_again_whatever_happens(self):
        for publish in (lambda *_: (False, []), mock.Mock(side_effect=OSError)):
            self.patch(unit, 'publish', publish)
            lease.take('a')
            try:
                unit.record('a', {}, True)
            except OSError:
                pass
            self.assertEqual(self.forbidden(), '')


class Program(Host):
    def test_a_hold_is_a_skip_that_is_seen(self):
        self.write('MAINTENANCE', 'moving racks\x1b[2J\nsecond line\n')
        self.assertEqual(self.call('may'), (1, 'homelab-ansible-pull: skipped, nothing is changed: %s exists: moving racks[2J\n'
                                            % self.path('MAINTENANCE')))
        self.assertEqual(self.prom(), {'last_success_unixtime': 0, 'skipped{reason="hold"}': 1, 'skipped{reason="lease"}': 0})
        os.unlink(self.path('MAINTENANCE'))
        os.mkfifo(self.path('MAINTENANCE'))
        self.assertEqual(self.call('may')[0], 1)
        os.unlink(self.path('MAINTENANCE'))
        self.assertEqual(self.call('may'), (0, ''))

    def test_a_lease_is_a_skip_that_is_seen(self):
        lease.take('a')
        code, said = self.call('may')
        self.assertEqual(code, 1)
        self.assertIn('run a has the lease', said)
        self.assertEqual(self.prom()['skipped{reason="lease"}'], 1)

    def test_who_cannot_find_out_fails(self):
        os.mkdir(self.path('lease.json'))
        code, said = self.call('may')
        self.assertEqual(code, 255)         # to systemd.service(5): failed, where 1 is skipped
        self.assertIn('IsADirectoryError', said)

    def ended(self, **env):
        with mock.patch.dict(os.environ, env):
            self.assertEqual(self.call('ended')[0], 0)
        return self.prom()

    def test_how_it_ended(self):
        began = int(time.time())
        prom = self.ended(SERVICE_RESULT='success', EXIT_CODE='exited', EXIT_STATUS='0')
        self.assertEqual((prom['last_exit_code'], prom['last_success_unixtime'] >= began), (0, True))
        success = prom['last_success_unixtime']
        for env, code in (({'SERVICE_RESULT': 'exit-code', 'EXIT_CODE': 'exited', 'EXIT_STATUS': '4'}, 4),
                          ({'SERVICE_RESULT': 'timeout', 'EXIT_CODE': 'killed', 'EXIT_STATUS': 'TERM'}, 143),
                          ({'SERVICE_RESULT': 'timeout', 'EXIT_CODE': 'exited', 'EXIT_STATUS': '0'}, 1),
                          ({'SERVICE_RESULT': 'resources'}, 1)):
            with self.subTest(env):
                prom = self.ended(**env)
                self.assertEqual((prom['last_exit_code'], prom['last_success_unixtime']), (code, success))

    def test_a_skip_leaves_the_last_end_standing(self):
        self.ended(SERVICE_RESULT='exit-code', EXIT_STATUS='2')
        self.write('MAINTENANCE', '')
        self.call('may')
        prom = self.ended(SERVICE_RESULT='exec-condition')
        self.assertEqual((prom['last_exit_code'], prom['skipped{reason="hold"}']), (2, 1))
        os.unlink(self.path('MAINTENANCE'))
        self.assertEqual(self.ended(SERVICE_RESULT='success')['skipped{reason="hold"}'], 0)

    def test_no_folder_for_textfiles_fails_nothing(self):
        os.environ['HOMELAB_PULL_TEXTFILES'] = self.path('none')
        with mock.patch.dict(os.environ, SERVICE_RESULT='success'):
            self.assertIn('no metrics of this host', self.call('ended')[1])


if __name__ == '__main__':
    unittest.main()
