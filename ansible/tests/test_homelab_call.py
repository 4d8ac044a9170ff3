"""Tests of how the role asks the program on a host: python3 -m unittest discover -s ansible/tests"""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True
ROLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'roles', 'patching')
sys.path.insert(0, ROLE)
from module_utils import homelab_act as act                  # noqa: E402
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_cli as cli                  # noqa: E402
from module_utils import homelab_plan as plan                # noqa: E402
from module_utils import homelab_program as program          # noqa: E402
from module_utils import homelab_unit as unit                # noqa: E402
from module_utils.homelab_system import empty_result         # noqa: E402
from playing import Playing                               # noqa: E402


def sources():
    """The texts as the controller reads them."""
    found, folder = {}, os.path.join(ROLE, 'module_utils')
    for name in os.listdir(folder):
        if name.startswith('homelab_') and name.endswith('.py'):
            with open(os.path.join(folder, name), encoding='utf-8') as f:
                found[name] = f.read()
    return found


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'homelab-patch')
        with open(self.path, 'wb') as f:
            f.write(program.program())

    def ask(self, version):
        asked = {'version': version, 'arguments': {'action': 'record'}, 'check': True}
        return subprocess.run([sys.executable, '-I', self.path, 'call'], input=json.dumps(asked), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)

    def test_controller_and_host_count_the_same_version(self):
        done = self.ask(call.version(sources()))
        self.assertEqual((done.returncode, done.stderr), (0, call.BEGUN + '\n'))
        self.assertTrue(done.stdout.startswith(call.ANSWER))
        self.assertEqual(json.loads(done.stdout[len(call.ANSWER):]), {'skipped': True, 'msg': 'not in check mode'})

    def test_another_version_does_nothing(self):
        done = self.ask(call.version(dict(sources(), **{'homelab_apt.py': 'another'})))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (call.OTHER_VERSION, '', ''))     # and has begun nothing

    def test_a_text_cannot_pass_for_two(self):
        self.assertNotEqual(call.version({'a': 'b\n', 'c': 'd'}), call.version({'a': 'b\nc 1\nd'}))


class Answers(unittest.TestCase):
    def test_a_failure_is_in_ansibles_form(self):
        with mock.patch.object(plan, 'look', side_effect=act.Failure('look', 'no Debian', 'detail')):
            self.assertEqual(act.answer({'action': 'look', 'run': 'x'}, False), {
                'failed': True, 'msg': 'no Debian', 'failure': {'phase': 'look', 'reason': 'no Debian', 'detail': 'detail'}})
        with mock.patch.object(plan, 'look', side_effect=OSError(28, 'No space left on device', '/var/lib/x')):
            self.assertEqual(act.answer({'action': 'look', 'run': 'x'}, False),
                             {'failed': True, 'msg': '/var/lib/x: No space left on device'})
        failure = {'phase': 'lists', 'reason': 'no mirror', 'detail': ''}
        with mock.patch.object(unit, 'prepare', return_value={'state': 'done', 'result': {'failure': failure}}):
            done = act.answer(dict.fromkeys(call.ARGUMENTS, None) | {'action': 'prepare'}, False)
        self.assertEqual((done['failed'], done['msg'], done['failure']), (True, 'no mirror', failure))

    def test_a_bug_is_no_answer(self):
        with mock.patch.object(plan, 'look', side_effect=ValueError('a bug')), self.assertRaises(ValueError):
            act.answer({'action': 'look', 'run': 'x'}, False)


class Record(unittest.TestCase):
    def upgrade(self, record=True, **done):
        done = dict({'state': 'done', 'changed': False, 'restarted': False, 'result': empty_result('r')}, **done)
        arguments = dict.fromkeys(call.ARGUMENTS, None) | {'action': 'upgrade', 'run': 'r', 'record': record}
        with mock.patch.object(unit, 'upgrade', return_value=done), \
                mock.patch.object(unit, 'record', return_value=(True, ['a warning'])) as recorded:
            said = act.answer(arguments, False)
        self.assertEqual(bool(said.get('recorded')), recorded.called)
        if recorded.called:
            recorded.assert_called_once_with('r', None, True, False)
            self.assertEqual((said['changed'], said['warnings']), (True, ['a warning']))
        return recorded.called

    def test_nothing_to_do_is_recorded_at_once(self):
        self.assertTrue(self.upgrade())
        self.assertTrue(self.upgrade(result=dict(empty_result('r'), reboot_required=True, reboot_futile=True)))

    def test_a_hold_is_recorded_as_one_at_once(self):
        arguments = dict.fromkeys(call.ARGUMENTS, None) | {'action': 'upgrade', 'run': 'r', 'record': True, 'look': True}
        held = dict(empty_result('r'), hold={'reason': 'mine'})
        with mock.patch.object(plan, 'look', return_value=held), mock.patch.object(unit, 'upgrade') as upgrade, \
                mock.patch.object(unit, 'record', return_value=(False, [])) as recorded:
            self.assertEqual(act.answer(arguments, False)['result'], held)
        recorded.assert_called_once_with('r', None, False, True)
        self.assertFalse(upgrade.called)

    def test_what_has_to_be_published_first_is_not(self):
        package = {'name': 'a', 'from': '1', 'to': '2', 'security': False}
        failure = {'phase': 'upgrade', 'reason': 'no', 'detail': ''}
        for result in ({'packages': [package]}, {'failure': failure}, {'reattached': True}, {'reboot_required': True}):
            with self.subTest(result=result):
                self.assertFalse(self.upgrade(result=dict(empty_result('r'), **result)))
        self.assertFalse(self.upgrade(changed=True))
        self.assertFalse(self.upgrade(restarted=True))
        self.assertFalse(self.upgrade(record=False))
        running = {'state': 'running', 'changed': False, 'msg': 'still running'}
        self.assertFalse(act.uneventful(running))


PLAY = '''
- hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      homelab_patch: {action: look}
      register: said
    - name: Say
      debug: {msg: "{{ said.result.run }} {{ said.result.version }}{{ ' and more' if said.ansible_facts is defined else '' }}"}
'''


class Task(Playing):
    """The task with the real Ansible; the host's program is another path, so that this machine has none."""

    def setUp(self):
        super().setUp()
        role = shutil.copytree(ROLE, os.path.join(self.folder, 'roles', 'patching'))
        self.program = os.path.join(self.folder, 'program')
        path = os.path.join(role, 'module_utils', 'homelab_call.py')
        with open(path, encoding='utf-8') as f:
            text = f.read()
        self.assertIn(call.PROGRAM, text)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text.replace(call.PROGRAM, self.program))
        self.call = text.replace(call.PROGRAM, self.program)
        with open(self.folder + '/play.yml', 'w', encoding='utf-8') as f:
            f.write(PLAY)

    def play(self, **env):
        role = self.folder + '/roles/patching/'
        environ = dict(os.environ, HOME=self.folder, ANSIBLE_ACTION_PLUGINS=role + 'action_plugins', ANSIBLE_LIBRARY=role + 'library',
                       ANSIBLE_MODULE_UTILS=role + 'module_utils', **dict({'ANSIBLE_PIPELINING': '1'}, **env))
        done = subprocess.run(['ansible-playbook', '-i', 'here,', '-c', 'local', '-e', 'ansible_python_interpreter=/usr/bin/python3',
                               '-e', 'homelab_patch_run_id=r1', self.folder + '/play.yml'], env=environ, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        return done.stdout

    def put(self, text):
        """Have the program do this."""
        with zipfile.ZipFile(self.program, 'w') as archive:
            archive.writestr('homelab_patch/__init__.py', '')
            archive.writestr('homelab_patch/homelab_cli.py', text + '\ndef main(argv): return 0\n')

    def test_without_a_program_the_module_is_sent(self):
        self.assertIn('"msg": "r1 1"', self.play())

    def test_a_task_that_is_repeated_asks_again_after_the_module_was_sent(self):
        """Ansible writes into the arguments that it sends. A first run that took more than 20 s failed by that."""
        with open(self.folder + '/play.yml', 'w', encoding='utf-8') as f:
            f.write(PLAY.replace('register: said', 'register: said\n      until: said.attempts == 3\n      delay: 0'))
        self.assertIn('"msg": "r1 1"', self.play())

    def test_with_another_version_the_module_is_sent(self):
        self.put('import sys; sys.exit(76)\n')
        self.assertIn('"msg": "r1 1"', self.play())

    def test_the_program_answers(self):
        version = call.version(dict(sources(), **{'homelab_call.py': self.call}))
        self.put('import json, sys\nasked = json.load(sys.stdin)\n'
                 'assert asked["version"] == %r and asked["arguments"]["action"] == "look" and not asked["check"]\n'
                 'assert asked["arguments"]["run"] == "r1"\n'
                 'print("a line of a profile")\n'
                 'print(%r + json.dumps({"result": {"run": "{{ 1 + 1 }}", "version": "own", "hold": None}, "ansible_facts": {"own": 1}}))\n'
                 % (version, call.ANSWER))
        self.assertIn('"msg": "{{ 1 + 1 }} own"', self.play())     # what a host says is no template

    def test_a_program_that_dies_is_a_failure_with_its_words(self):
        self.put('import sys; print(%r, file=sys.stderr); sys.exit("No space left on device")\n' % call.BEGUN)
        said = self.play()
        self.assertIn('MODULE FAILURE', said)
        self.assertIn('No space left on device', said)

    def test_where_the_program_is_damaged_the_module_is_sent(self):
        for text in ('no Python', 'import os; os.kill(os.getpid(), 11)\n'):
            self.put(text)
            self.assertIn('"msg": "r1 1"', self.play(), text)
        for data in (b'', b'no zip'):
            with open(self.program, 'wb') as f:
                f.write(data)
            self.assertIn('"msg": "r1 1"', self.play(), data)

    def test_without_pipelining_the_module_is_sent(self):
        self.put('import sys; sys.exit("never asked")\n')
        self.assertIn('"msg": "r1 1"', self.play(ANSIBLE_PIPELINING='0'))


class Cli(unittest.TestCase):
    def test_call_reads_one_question(self):
        with mock.patch.object(cli, 'call', return_value=7) as asked, mock.patch('sys.stdin', io.StringIO('{"version": "x"}')):
            self.assertEqual(cli.main(['call']), 7)
        asked.assert_called_once_with({'version': 'x'})


if __name__ == '__main__':
    unittest.main()
