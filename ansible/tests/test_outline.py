"""Tests of the role's outline with the real Ansible: which tasks a host sees, and how many restart at once. What the host would
answer is made up; python3 -m unittest discover -s ansible/tests"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'roles', 'patching')
sys.path.insert(0, ROLE)
from module_utils.homelab_system import empty_result         # noqa: E402

# Answers by the host's variable `answers`, action by action, and notes what was asked.
ANSWERS = '''
import json, os, time
from ansible.plugins.action import ActionBase


def answer(task_vars, action, arguments):
    began = time.time()
    if action == 'reboot':
        time.sleep(0.7)
    with open(os.environ['ASKED'], 'a') as f:
        f.write(json.dumps([task_vars['inventory_hostname'], action, began, time.time(), arguments]) + '\\n')
    said = task_vars['answers'].get(action, {})
    if isinstance(said, list):      # one after the other
        asked = '%s/%s.%s' % (os.path.dirname(os.environ['ASKED']), task_vars['inventory_hostname'], action)
        with open(asked, 'a+') as f:
            f.write('.')
            said = said[min(f.tell(), len(said)) - 1]
    if action in ('look', 'plan', 'prepare', 'upgrade', 'settle'):
        said = dict({'result': dict(task_vars['empty'], **said.pop('result', {}))}, **said)
    if action == 'look':
        said.setdefault('begun', '')
    return said
'''
# The action plugin as it is, but for the host.
ASKS = ANSWERS + '''
from ansible.errors import AnsibleConnectionFailure


class ActionModule(ActionModule):
    def run(self, tmp=None, task_vars=None):
        self.vars = task_vars
        return super().run(tmp, task_vars)

    def ask(self):
        said = answer(self.vars, self._task.args['action'], self._task.args)
        if 'broken' in said:
            raise AnsibleConnectionFailure(said['broken'])
        return said
'''
REBOOTS = ANSWERS + '''
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return dict(super().run(tmp, task_vars), **answer(task_vars, 'reboot', {}))
'''

# Stands where the orchestrator tells people.
ANNOUNCE = '''#!/usr/bin/python3
import json, os, sys
said = json.load(sys.stdin)
with open(os.environ['ASKED'], 'a') as f:
    f.write(json.dumps([said['host'], 'announce', 0, 0, sys.argv[1:]]) + '\\n')
'''


@unittest.skipUnless(shutil.which('ansible-playbook') or os.environ.get('E2E_REQUIRED') == '1', 'no ansible-playbook here')
class Outline(unittest.TestCase):
    def play(self, hosts, *args, tasks_from='main', last=False, **extra):
        """Run the role; returns what was asked of each host, in its order, and what Ansible printed."""
        with tempfile.TemporaryDirectory() as folder:
            role = shutil.copytree(ROLE, folder + '/roles/patching')
            with open(role + '/action_plugins/homelab_patch.py', 'a', encoding='utf-8') as f:
                f.write(ASKS)
            with open(role + '/action_plugins/made_up_reboot.py', 'w', encoding='utf-8') as f:
                f.write(REBOOTS)
            with open(role + '/tasks/reboot.yml', encoding='utf-8') as f:
                text = f.read()
            self.assertIn('ansible.builtin.reboot', text)
            with open(role + '/tasks/reboot.yml', 'w', encoding='utf-8') as f:
                f.write(text.replace('ansible.builtin.reboot', 'made_up_reboot'))
            with open(folder + '/hosts.json', 'w', encoding='utf-8') as f:
                json.dump({'all': {'hosts': {name: {'answers': answers, 'empty': empty_result('r')} for name, answers in hosts.items()},
                                   'children': {'patch_controller': {'hosts': {'ctl': {'ansible_connection': 'local'}}}},
                                   'vars': extra}}, f)
            with open(folder + '/play.yml', 'w', encoding='utf-8') as f:
                # that a connection is local is no variable of the hosts: such a host is never restarted by the role
                json.dump([{'hosts': 'all:!patch_controller', 'gather_facts': False, 'connection': 'ansible.builtin.local', 'strategy': 'ansible.builtin.host_pinned',
                            'tasks': [{'import_role': {'name': 'patching', 'tasks_from': tasks_from, 'rolespec_validate': not last}, 'vars': {'__patching_last': True} if last else {}},
                                      {'name': 'Go on with the play', 'debug': {'msg': '{{ %s | to_json }}' % ('homelab_patch' if tasks_from == 'main' else '__patching_result')}}]}], f)
            asked = folder + '/asked'
            with open(asked, 'w', encoding='utf-8'):
                pass
            with open(folder + '/announce', 'w', encoding='utf-8') as f:
                f.write(ANNOUNCE)
            os.chmod(folder + '/announce', 0o700)
            env = dict(os.environ, ASKED=asked, HOME=folder, ANSIBLE_ROLES_PATH=folder + '/roles', ANSIBLE_FORKS='25', ANSIBLE_PIPELINING='True')
            done = subprocess.run(['ansible-playbook', '-i', folder + '/hosts.json', '-e', 'homelab_patch_run_id=r', '-e', 'homelab_patch_command=' + folder + '/announce',
                                   '-e', 'homelab_patch_announce=/socket', folder + '/play.yml', *args], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            with open(asked, encoding='utf-8') as f:
                return [json.loads(line) for line in f], done.stdout

    def asked(self, answers, *args, **extra):
        asked, said = self.play({'one': answers}, *args, **extra)
        return [a[1] for a in asked], said

    def tasks(self, said):
        """The names of the role's tasks, without those of Ansible's own."""
        return [name for name in re.findall(r'^TASK \[patching : (.*?)\]', said, re.M) if not name.startswith(('Validating', 'End the play'))]

    def test_a_host_with_nothing_to_do_is_one_task(self):
        asked, said = self.asked({'upgrade': {'state': 'done', 'recorded': True}}, last=True)
        self.assertEqual((asked, self.tasks(said)), (['upgrade'], ['Patch the host']), said)
        self.assertNotIn('Go on with the play', said)

    def test_a_play_that_goes_on_after_the_role_does(self):
        for done in ({'recorded': True}, {'changed': True}, {'recorded': True, 'result': {'hold': {'reason': 'mine'}}}):
            asked, said = self.asked({'upgrade': dict(done, state='done')})
            self.assertEqual(asked, ['upgrade', 'record'] if 'changed' in done else ['upgrade'], said)
            self.assertIn('Go on with the play', said)
            self.assertIn('\\"version\\": 1', said)

    def test_what_has_changed_is_recorded_when_it_was_published(self):
        asked, said = self.asked({'upgrade': {'state': 'done', 'changed': True}}, last=True)
        self.assertEqual((asked, self.tasks(said)), (['upgrade', 'record'], ['Patch the host', 'Record the result on the host']), said)

    def test_a_host_on_hold_is_left_alone(self):
        held = {'state': 'done', 'recorded': True, 'result': {'hold': {'reason': 'mine'}, 'reboot_required': True}}
        asked, said = self.asked({'upgrade': held}, last=True)
        self.assertEqual(asked, ['upgrade'], said)
        asked, said = self.asked({'upgrade': held}, patching_reboot='always')
        self.assertEqual(asked, ['upgrade'], said)

    def test_a_dry_run_asks_for_a_plan_alone(self):
        asked, said = self.asked({}, '--check', last=True)
        self.assertEqual((asked, self.tasks(said)), (['plan'], ['Patch the host']), said)

    def test_a_link_that_is_lost_to_a_host_that_had_answered(self):
        lost, done = {'broken': 'homelab-patch-begun\nclient_loop: send disconnect: Broken pipe'}, {'state': 'done', 'changed': True}
        for first in (lost, {'state': 'running'}):
            asked, said = self.asked({'upgrade': [first, lost, done]})
            self.assertEqual(asked, ['upgrade', 'upgrade', 'upgrade', 'record'], said)
            self.assertIn('Wait for the host to answer again', said)
            self.assertRegex(said, r'unreachable=0 +failed=0')

    def test_a_host_that_never_answered_is_unreachable_at_once(self):
        asked, said = self.asked({'upgrade': {'broken': 'ssh: connect to host one port 22: No route to host'}})
        self.assertEqual(asked, ['upgrade'], said)
        self.assertRegex(said, r'unreachable=1 +failed=0')

    def test_a_variable_that_cannot_be_is_said(self):
        for last in (False, True):
            asked, said = self.asked({}, last=last, patching_reboot='sometimes')
            self.assertEqual(asked, [], said)
            self.assertIn('value of patching_reboot must be one of: auto_if_required, never, always, got: sometimes', said)

    def test_the_controller_says_that_its_restart_is_due(self):
        due = {'state': 'done', 'changed': True, 'result': {'reboot_required': True, 'reboot_reasons': ['why']}}
        asked, said = self.asked({'upgrade': due}, ansible_connection='local')
        self.assertEqual(asked, ['upgrade', 'record'], said)
        self.assertIn('\\"reboot_due\\": true', said)

    def test_a_restart_is_announced_and_judged_once(self):
        due = {'state': 'done', 'changed': True, 'result': {'reboot_required': True, 'reboot_reasons': ['why']}}
        asked, said = self.asked({'upgrade': due, 'settle': {'result': {'rebooted': True}}})
        self.assertEqual(asked, ['upgrade', 'announce', 'reboot', 'settle', 'record'], said)
        asked, said = self.asked({'upgrade': due}, patching_reboot='never')
        self.assertEqual(asked, ['upgrade', 'record'], said)
        asked, said = self.asked({'upgrade': dict(due, restarted=True), 'settle': {'result': {'rebooted': True}}})
        self.assertEqual(asked, ['upgrade', 'settle', 'record'], said)

    def test_a_failure_is_published_and_no_restart_follows(self):
        failure = {'phase': 'upgrade', 'reason': 'package x failed', 'detail': ''}
        asked, said = self.asked({'upgrade': {'state': 'done', 'failed': True, 'msg': 'package x failed', 'failure': failure,
                                              'result': {'reboot_required': True, 'failure': failure}}})
        self.assertEqual(asked, ['upgrade', 'record'], said)
        self.assertIn('package x failed', said)

    def test_preparing_asks_once(self):
        asked, said = self.asked({'prepare': {'state': 'done', 'result': {'suite': 'bookworm'}}}, tasks_from='prepare')
        self.assertEqual(asked, ['prepare'], said)
        self.assertIn('bookworm', said)

    def test_no_more_restart_at_once_than_the_budget(self):
        due = {'upgrade': {'state': 'done', 'changed': True, 'result': {'reboot_required': True, 'reboot_reasons': ['why']}},
               'settle': {'result': {'rebooted': True}}}
        hosts = {'host%02d' % i: due for i in range(12)}
        asked, said = self.play(hosts, patching_reboots_at_once=3)
        moments = sorted([(a[2], 1) for a in asked if a[1] == 'reboot'] + [(a[3], -1) for a in asked if a[1] == 'reboot'])
        self.assertEqual(len(moments), 24, said)
        now = most = 0
        for _, by in moments:
            now += by
            most = max(most, now)
        self.assertEqual(most, 3, said)
        self.assertEqual(len(re.findall(r'^host\d+ .*failed=0', said, re.M)), 12, said)


if __name__ == '__main__':
    unittest.main()
