"""Tests of how a run has the unit begun once and waits for it, and of how often it asks systemd meanwhile."""
import fcntl
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_lease as lease              # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_unit as unit                # noqa: E402

POLICY = {'lock_timeout': 300}


class Run(unittest.TestCase):
    """upgrade(): one unit for a run, whoever asks how often."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for module, name in ((system, 'STATE'), (system, 'LOCK'), (lease, 'LEASE')):
            patch = mock.patch.object(module, name, os.path.join(folder.name, name))
            patch.start()
            self.addCleanup(patch.stop)
        self.states, self.files, self.started = [], {}, []
        self.now, self.asked, self.start_takes = 100.0, [], 0
        for module, name, fake in ((unit, 'has_systemd', lambda: True), (unit, 'at_work', self.at_work),
                                   (unit, 'read_json', self.files.get), (unit, 'boot_id', lambda: 'one'),
                                   (unit, 'start', self.start), (unit, 'lost', lambda run: {'lost': run}),
                                   (unit.time, 'sleep', self.sleep), (unit.time, 'monotonic', lambda: self.now)):
            self.patch(module, name, fake)

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def at_work(self, *units):
        """What systemd says, once for all units: states has it for each question, and whether it is the unit that is at work."""
        self.assertEqual(units, (call.UNIT, call.PREPARE_UNIT, call.PULL))
        self.asked.append(self.now)
        return {call.UNIT} if self.states.pop(0) else set()

    def sleep(self, seconds):
        self.now += seconds

    def sleep_until(self, moment, what):
        """From that moment on, what is done by the host while we sleep."""
        def sleep(seconds):
            self.now += seconds
            if self.now >= moment:
                what()
        self.patch(unit.time, 'sleep', sleep)

    def start(self, run, policy, plan=None, _back=None):
        with open(system.LOCK, 'w', encoding='utf-8') as f, self.assertRaises(BlockingIOError):
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)       # two starters: the second waits, then looks again
        self.now += self.start_takes
        self.started.append(run)
        self.files[unit.REQUEST] = {'run': run}
        self.files.pop(unit.RESULT, None)
        return False

    def end(self, run):
        self.files[unit.RESULT] = {'run': run, 'published': False, 'changed': False, 'boot_id': 'one',
                                   'result': {'run': run, 'rebooted': False}}

    def test_started_once(self):
        self.states = [False]
        self.assertEqual(unit.upgrade('a', POLICY, 0)['state'], 'running')
        self.end('a')
        self.states = [False]
        self.assertEqual(unit.upgrade('a', POLICY, 0), {
            'state': 'done', 'changed': False, 'restarted': False, 'result': {'run': 'a', 'rebooted': False}})
        self.assertEqual(self.started, ['a'])

    def test_another_runs_unit_is_waited_for(self):
        self.files[unit.REQUEST] = {'run': 'old'}
        self.states = [True]
        self.assertIn('begun by run old', unit.upgrade('new', POLICY, 0)['msg'])
        self.assertEqual(self.started, [])
        self.end('old')
        self.states = [False]
        unit.upgrade('new', POLICY, 0)
        self.assertEqual(self.started, ['new'])

    def test_a_run_that_is_resumed_gets_the_result_that_it_published(self):
        self.end('a')
        self.files[unit.REQUEST], self.files[unit.RESULT]['published'] = {'run': 'a'}, True
        self.states = [False]
        self.assertEqual(unit.upgrade('a', POLICY, 0)['state'], 'done')
        self.assertEqual(self.started, [])

    def test_a_host_that_booted_since_its_upgrade_is_judged_once(self):
        self.end('a')
        self.files[unit.RESULT]['boot_id'] = 'before'
        self.states = [False, False]
        self.assertTrue(unit.upgrade('a', POLICY, 0)['restarted'])
        self.files[unit.RESULT]['result']['rebooted'] = True
        self.assertFalse(unit.upgrade('a', POLICY, 0)['restarted'])

    def test_an_end_without_a_result_is_not_started_again(self):
        self.files[unit.REQUEST] = {'run': 'a'}
        self.states = [False]
        self.assertEqual(unit.upgrade('a', POLICY, 0)['result'], {'lost': 'a'})
        self.assertEqual(self.started, [])

    def test_a_watch_that_was_left_behind_ends_when_a_later_run_takes_over(self):
        def other():
            self.files[unit.REQUEST] = {'run': 'b'}     # the unit of b ends before the next look
            self.end('b')
        self.files[unit.REQUEST] = {'run': 'a'}
        for seconds in (0, 3):
            self.states, began = [True, True], self.now
            self.sleep_until(began + seconds, other)
            with self.assertRaisesRegex(unit.Failure, 'run b has taken over'):
                unit.upgrade('a', POLICY, 60)
            self.assertLess(self.now, began + seconds + 2 * unit.LOOK)      # whenever systemd is asked again
            self.files[unit.REQUEST] = {'run': 'a'}
            self.files.pop(unit.RESULT)
        self.assertEqual(self.started, [])

    def test_a_result_ends_the_wait_without_another_question(self):
        self.states, self.start_takes = [False], 3      # a second question would have no answer
        self.sleep_until(104, lambda: self.end('a'))
        done = unit.upgrade('a', POLICY, 60)
        self.assertEqual((done['state'], done['result']['run'], self.started, self.asked), ('done', 'a', ['a'], [100]))
        self.assertLess(self.now, 104 + 2 * unit.LOOK)

    def test_systemd_is_asked_seldom(self):
        self.files[unit.REQUEST] = {'run': 'a'}
        self.states = [True] * (20 // unit.ASK)
        self.assertEqual(unit.upgrade('a', POLICY, 20)['state'], 'running')
        self.assertEqual(self.states, [])
        self.assertGreaterEqual(min(b - a for a, b in zip(self.asked, self.asked[1:])), unit.ASK)

    def test_a_unit_that_dies_is_found_while_it_is_watched(self):
        for states in ([False, False], [False, True, True, False]):     # at once, and later
            with self.subTest(states):
                self.files.pop(unit.REQUEST, None)
                self.states, self.asked, began = list(states), [], self.now
                self.assertEqual(unit.upgrade('a', POLICY, 60)['result'], {'lost': 'a'})
                self.assertLess(self.now - began, (len(states) - 1) * (unit.ASK + unit.LOOK))
        self.assertEqual(self.started, ['a', 'a'])      # once each time

    def test_a_unit_that_ends_while_systemd_is_asked_is_not_lost(self):
        def at_work(*_):        # it writes its result and ends before systemd answers
            self.end('a')
            return set()
        self.files[unit.REQUEST] = {'run': 'a'}
        self.patch(unit, 'at_work', at_work)
        self.assertEqual(unit.upgrade('a', POLICY, 0)['result'], {'run': 'a', 'rebooted': False})


if __name__ == '__main__':
    unittest.main()
