"""Tests of what a host says of its health: python3 -m unittest discover -s ansible/tests"""
import os
import subprocess
import sys
import unittest
from unittest import mock

sys.dont_write_bytecode = True
ROLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'roles', 'patching')
sys.path.insert(0, ROLE)
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_doctor as doctor            # noqa: E402
from module_utils.homelab_system import Failure              # noqa: E402
from playing import Playing                               # noqa: E402

# As systemd 252 prints it.
SAID = '''\
SystemState=degraded
Id=homelab-patch.service
StateChangeTimestamp=@1793534532

Id=nginx.service
StateChangeTimestamp=

StateChangeTimestamp=@1793534531
Id=data.mount
'''
READ = {'version': 1, 'state': 'degraded', 'failed_units': [
    {'name': 'data.mount', 'since': 1793534531}, {'name': 'nginx.service', 'since': 0}]}
PLAY = '''
- hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      homelab_patch: {action: health}
      register: said
    - name: Say
      debug: {msg: "{{ said.homelab_health }}"}
'''
# In place of ssh: what it is asked is written down, what it would be configured to is real, and a host is this machine.
SSH = '''#!/bin/sh
echo "$@" >> "$0.asked"
for last; do :; done
case " $* " in *" -G "*) exec ssh -F none "$@" ;; esac
exec sh -c "$last"
'''


class Health(unittest.TestCase):
    def test_failed_units_and_since_when(self):
        self.assertEqual(call.read_health(0, SAID, ''), (READ, ''))
        self.assertEqual(call.read_health(0, SAID.replace('\n', '\r\n'), ''), (READ, ''))       # by a terminal
        self.assertEqual(call.read_health(0, 'a line of a profile\nSystemState=running\n', ''),
                         ({'version': 1, 'state': 'running', 'failed_units': []}, ''))

    def test_no_answer_is_not_a_good_one(self):
        for said, words in (((1, SAID, 'no bus\n'), 'does not answer: no bus'), ((127, '', ''), 'exit code 127'), ((0, '', ''), 'exit code 0')):
            health, problem = call.read_health(*said)
            self.assertEqual(health, {})
            self.assertIn(words, problem)
        # on a terminal there is no other way for what went wrong
        self.assertIn('not been booted', call.read_health(1, 'System has not been booted with systemd\r\n', '')[1])

    def test_what_a_pager_would_make_of_it_is_no_answer(self):
        for said in ('SystemState=running\x1b[m\n', SAID.replace('\n\n', '\n\x1b[m\n'), SAID.replace('nginx.service', 'nginx.service\x1b[m')):
            health, problem = call.read_health(0, said, '')
            self.assertEqual(health, {})
            self.assertIn('cannot be read', problem)

    def test_no_pager_comes_between(self):
        self.assertEqual(call.HEALTH.count('systemctl show --no-pager '), call.HEALTH.count('systemctl'))

    def test_the_doctor_asks_the_same(self):
        def run(argv, timeout):
            self.assertEqual(argv, ['sh', '-c', call.HEALTH])
            return subprocess.CompletedProcess(argv, code, SAID, 'no bus\n')
        with mock.patch.object(doctor, 'run', run), mock.patch.object(doctor, 'has_systemd', lambda: True):
            code = 0
            self.assertEqual(doctor.health(), READ)
            code = 1
            with self.assertRaisesRegex(Failure, 'no bus'):
                doctor.health()
        with mock.patch.object(doctor, 'has_systemd', lambda: False), self.assertRaisesRegex(Failure, 'does not run'):
            doctor.health()


class Task(Playing):
    """The task with the real Ansible."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.folder + '/bin')
        for name, text in (('play.yml', PLAY), ('ssh', SSH), ('bin/systemctl', '#!/bin/sh\n[ "$3" != --timestamp=unix ] || cat <<E\n%sE\n' % SAID)):
            with open(os.path.join(self.folder, name), 'w', encoding='utf-8') as f:
                f.write(text)
            os.chmod(f.name, 0o755)

    def play(self, *args, connection='ssh'):
        """What Ansible printed, and the commands it gave ssh."""
        environ = dict(os.environ, HOME=self.folder, PATH=self.folder + '/bin:' + os.environ['PATH'], ANSIBLE_ACTION_PLUGINS=ROLE + '/action_plugins',
                       ANSIBLE_LIBRARY=ROLE + '/library', ANSIBLE_PIPELINING='1', ANSIBLE_SSH_EXECUTABLE=self.folder + '/ssh')
        done = subprocess.run(['ansible-playbook', '-i', 'here,', '-c', connection, *args, self.folder + '/play.yml'], env=environ,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        try:
            with open(self.folder + '/ssh.asked', encoding='utf-8') as f:
                asked = f.read().splitlines()
        except FileNotFoundError:
            asked = []
        return done.stdout, asked

    def test_the_host_is_asked(self):
        said, _ = self.play(connection='local')
        self.assertIn('"name": "data.mount"', said)
        self.assertIn('"since": 1793534531', said)

    def test_the_connection_is_a_new_one_and_its_keys_are_agreed_on_lightly(self):
        said, asked = self.play()
        self.assertIn('"name": "data.mount"', said)
        self.assertIn(' -S none ', asked[-1])
        default = subprocess.run(['ssh', '-F', 'none', '-G', 'here'], capture_output=True, text=True, check=True).stdout
        default = next(line.split()[1] for line in default.splitlines() if line.startswith('kexalgorithms '))
        if default.startswith('sntrup761'):
            light = next(word for word in asked[-1].split() if word.startswith('KexAlgorithms='))[len('KexAlgorithms='):]
            self.assertTrue(light.startswith('curve25519-sha256,sntrup761'), light)
            self.assertEqual(sorted(light.split(',')), sorted(default.split(',')))      # none that was not allowed before

    def test_what_is_configured_is_kept(self):
        for kex in ('sntrup761x25519-sha512@openssh.com', 'diffie-hellman-group16-sha512,curve25519-sha256',
                    'sntrup761x25519-sha512@openssh.com,curve25519-sha256'):
            said, asked = self.play('-e', 'ansible_ssh_common_args="-o KexAlgorithms=%s"' % kex)
            self.assertIn('"name": "data.mount"', said)
            self.assertEqual(asked[-1].count('KexAlgorithms='), 1, asked[-1])

    def test_where_a_password_is_sent_the_keys_are_agreed_on_as_ever(self):
        said, asked = self.play('-b', '-e', 'ansible_become_password=x')
        self.assertIn('-S none', asked[-1], said)
        self.assertNotIn('KexAlgorithms', asked[-1])


if __name__ == '__main__':
    unittest.main()
