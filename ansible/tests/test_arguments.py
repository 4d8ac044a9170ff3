"""Tests of what a task of the role gives the host to know, with the real Ansible: of the plan of a run its own part, or nothing at all."""
import os
import shutil
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_outline                                          # noqa: E402


def part(name):
    """A host's part of the plan, as the orchestrator passes it. What comes from hosts is never a template."""
    return {'id': 'p', 'attempt': 'one', 'packages': {'of-' + name: '{{ 1 + 1 }}'}, 'others': None, 'archives': None}


@unittest.skipUnless(shutil.which('ansible-playbook') or os.environ.get('E2E_REQUIRED') == '1', 'no ansible-playbook here')
class Plan(unittest.TestCase):
    play = test_outline.Outline.play

    def given(self, *args, plan, action, **more):
        """Of a run on three hosts: the plan that each was given with the action, and of how many a task failed."""
        names = ('one', 'two', 'three')
        asked, said = self.play(dict.fromkeys(names, {'upgrade': {'state': 'done', 'recorded': True}}), *args,
                                **dict({} if plan is None else {'homelab_patch_plan': plan}, **more))
        failed = {name for name in names if ' failed=0 ' not in next(line for line in said.splitlines() if line.startswith(name + ' '))}
        others = {(a[0], a[1]) for a in asked if a[1] not in (action, 'look')}
        self.assertEqual(others, set(), said)
        return {a[0]: a[4].get('plan', 'none') for a in asked if a[1] == action}, failed, said

    def test_each_host_gets_its_own_part_and_one_that_was_forgotten_is_not_asked(self):
        plan = {name: part(name) for name in ('one', 'two', 'four')}
        for action, args, more in (('upgrade', (), {}), ('plan', ('--check',), {}), ('prepare', (), {'tasks_from': 'prepare'}),
                                   ('upgrade', (), {'last': True})):
            with self.subTest(action=action, **more):
                given, failed, said = self.given(*args, plan=plan, action=action, **more)
                self.assertEqual((given, failed), ({'one': part('one'), 'two': part('two')}, {'three'}), said)
                self.assertIn('the run has no versions for this host', said)

    def test_a_plan_of_nobody_is_none_for_nobody(self):
        for plan in ({}, dict.fromkeys(('one', 'two', 'three'))):
            given, failed, said = self.given(plan=plan, action='upgrade')
            self.assertEqual((given, failed), ({}, {'one', 'two', 'three'}), said)

    def test_no_host_but_the_controller_is_this_machine(self):
        given, failed, said = self.given(plan=None, action='upgrade', homelab_patch_controller='two')
        self.assertEqual((list(given), failed), (['two'], {'one', 'three'}), said)
        self.assertIn('reached by the connection local, which is two itself', said)

    def test_without_a_plan_hosts_get_what_there_is(self):
        given, failed, said = self.given(plan=None, action='upgrade')
        self.assertEqual((given, failed), (dict.fromkeys(('one', 'two', 'three'), 'none'), set()), said)


if __name__ == '__main__':
    unittest.main()
