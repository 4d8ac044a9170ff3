"""Tests of what the role has the controller send, with the real Ansible: when, by which command, with what.

No host is touched: its ssh is a script that writes down that it was called, and says no.
"""
import json
import os
import re
import shutil
import subprocess
import unittest

from playing import Playing

ANSIBLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
ROLE = os.path.join(ANSIBLE, 'roles', 'patching')

# Both write into the folder of the test, which Ansible hands down in the environment.
SSH = '''#!/bin/sh
for word; do case $word in *.invalid) echo "${word%.invalid} ssh" >>"$MESSAGES_DIR/order" ;; esac; done
echo 'no route to host' >&2
exit 255
'''
PROGRAM = '''#!/bin/sh
said=$(cat)
host=$(expr "$said" : '{"host": "\\([a-z]*\\)"') || host=summary
printf '%s\\n' "$0" "$@" "$said" >>"$MESSAGES_DIR/call.$host"
echo "$host begins" >>"$MESSAGES_DIR/order"
case $host in
  failing) exit 1 ;;
  hung) exec sleep 60 ;;
esac
sleep 0.5   # who would not wait for the end is told from who does
echo "$host ends" >>"$MESSAGES_DIR/order"
'''
REBOOT = '''
- name: Restart what was upgraded
  hosts: targets
  gather_facts: false
  become: true
  strategy: ansible.builtin.host_pinned
  vars:
    patching_reboot_timeout: 1
    __patching_upgrade:
      result:
        reboot_reasons: ["asked for by linux-image-6.1.0-41-lab-amd64", "100% of it's \\"old\\" code"]
        packages: [{name: a}, {name: b}, {name: c}]
  tasks:
    - name: Announce
      ansible.builtin.include_role:
        name: patching
        tasks_from: announce

    - name: Reboot
      ansible.builtin.include_role:
        name: patching
        tasks_from: reboot

    - name: Wait for it, as the role does
      ansible.builtin.include_role:
        name: patching
        tasks_from: back
'''
PUBLISH = '''
- name: Publish
  hosts: patching_targets
  gather_facts: false
  tasks:
    - name: Say how it went
      ansible.builtin.set_fact:
        homelab_patch: {version: 1, packages: [{name: a, security: true}], failure: null, warnings: ["it's \\"odd\\""]}
      when: inventory_hostname != 'silent'
    - name: Fail after that
      ansible.builtin.fail:
      when: inventory_hostname == 'failed'
'''


class Messages(Playing):
    def setUp(self):
        super().setUp()
        self.program = self.write('program', PROGRAM, 0o755)
        self.ssh = self.write('ssh', SSH, 0o755)

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def read(self, name):
        try:
            with open(os.path.join(self.folder, name), encoding='utf-8') as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def play(self, playbook, groups, hosts, *args, roles=os.path.dirname(ROLE)):
        """Run a playbook; groups and hosts of the inventory, these with their variables. Returns exit code and output."""
        base = {'ansible_ssh_executable': self.ssh, 'patching_notify_command': self.program}
        # root needs no sudo; another user would be asked for a password
        local = dict({'ansible_connection': 'local'}, **({} if os.geteuid() == 0 else {'ansible_become': False}))
        self.write('hosts.json', json.dumps({'all': {
            'hosts': {name: dict(base, ansible_host=name + '.invalid', **(local if own == 'local' else own))
                      for name, own in hosts.items()},
            'children': {group: {'hosts': dict.fromkeys(names, {})} for group, names in groups.items()}}}))
        env = dict(os.environ, MESSAGES_DIR=self.folder, ANSIBLE_ROLES_PATH=roles, ANSIBLE_NOCOLOR='1', ANSIBLE_FORKS='10',
                   ANSIBLE_CONFIG=self.write('ansible.cfg', ''), ANSIBLE_LOCAL_TEMP=self.folder + '/tmp',
                   ANSIBLE_REMOTE_TEMP=self.folder + '/remote', ANSIBLE_PYTHON_INTERPRETER='auto_silent',
                   ANSIBLE_HOST_PATTERN_MISMATCH='error')
        done = subprocess.run(['ansible-playbook', '-i', self.folder + '/hosts.json', self.write('play.yml', playbook)] + list(args),
                              env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding='utf-8', timeout=300, check=False)
        return done.returncode, done.stdout

    def order(self, host):
        return [line.split(' ')[1] for line in self.read('order') if line.startswith(host + ' ')]

    def recap(self, said, host):
        return dict(pair.split('=') for pair in re.search(r'^%s +: (.*)$' % host, said, re.M).group(1).split())

    def test_a_restart_is_announced_before_it_is_begun(self):
        wrapped = {'homelab_patch_run_id': 'r1', 'homelab_patch_command': self.program,
                   'homelab_patch_announce': '/run/x/announce', 'patching_notify_command': '/no/where'}
        # half a minute for the one that hangs is long here, and for the others short on a busy machine
        roles = shutil.copytree(ROLE, os.path.join(self.folder, 'roles', 'patching'))
        with open(os.path.join(roles, 'tasks', 'announce.yml'), encoding='utf-8') as f:
            text = f.read()
        self.assertIn('  timeout: 30\n', text)
        self.write('roles/patching/tasks/announce.yml', text.replace(
            '  timeout: 30\n', '''  timeout: "{{ 15 if inventory_hostname == 'hung' else 120 }}"\n'''))
        hosts = {'hand': {}, 'wrapped': wrapped, 'mute': {'homelab_patch_run_id': 'r1'}, 'failing': {}, 'hung': {},
                 'missing': {'patching_notify_command': '/no/where'}}
        _, said = self.play(REBOOT, {'targets': hosts, 'patch_controller': ['ctl']}, dict(hosts, ctl='local'),
                            roles=os.path.dirname(roles))
        for host in hosts:
            with self.subTest(host=host):
                before = {'hand': ['begins', 'ends'], 'wrapped': ['begins', 'ends'], 'failing': ['begins'], 'hung': ['begins']}
                want = before.get(host, [])
                self.assertEqual(self.order(host)[:len(want) + 1], want + ['ssh'], said)
                # what ends them is that they do not come back
                self.assertEqual((self.recap(said, host)['failed'], self.recap(said, host)['unreachable']), ('1', '0'), said)
                call = self.read('call.' + host)
                if not want:
                    self.assertEqual(call, [])
                    continue
                argv = ['notify', 'announce'] + (['--socket', '/run/x/announce'] if host == 'wrapped' else [])
                self.assertEqual(call[:-1], [self.program] + argv)
                self.assertEqual(json.loads(call[-1]), {'host': host, 'packages': 3, 'reasons': [
                    'asked for by linux-image-6.1.0-41-lab-amd64', '100% of it\'s "old" code']})

    def test_a_controller_that_cannot_be_reached_is_not_the_hosts_fault(self):
        _, said = self.play(REBOOT, {'targets': ['hand'], 'patch_controller': ['ctl']}, {'hand': {}, 'ctl': {}})
        self.assertEqual([line for line in self.read('order') if line.endswith(' ssh')][:2], ['ctl ssh', 'hand ssh'], said)
        self.assertEqual(self.recap(said, 'hand')['unreachable'], '0', said)

    def test_without_a_controller_nothing_is_announced(self):
        for groups in ({'targets': ['hand']}, {'targets': ['hand'], 'patch_controller': []}):
            _, said = self.play(REBOOT, groups, {'hand': {}})
            self.assertIn('hand ssh', self.read('order'), said)
            self.assertEqual(self.read('call.hand'), [])

    def test_a_run_by_hand_is_summarised_once(self):
        with open(os.path.join(ANSIBLE, 'playbooks', 'patch.yml'), encoding='utf-8') as f:
            last = f.read().split('\n- name: ')[-1]
        self.assertTrue(last.startswith('Summarise a run by hand\n'))
        hosts = {'failed': {}, 'silent': {}, 'well': {}, 'ctl': 'local'}
        groups = {'patching_targets': list(hosts), 'patch_controller': ['ctl']}
        without = self.play(PUBLISH, groups, hosts)
        for args in (['-e', 'homelab_patch_run_id=r1'], ['--check']):       # then the play is as if it was not there
            code, said = self.play(PUBLISH + '\n- name: ' + last, groups, hosts, *args)
            self.assertEqual(self.read('call.summary'), [])
            self.assertNotIn('WARNING', said)
            self.assertEqual((code, said.split('PLAY RECAP')[1]), (without[0], without[1].split('PLAY RECAP')[1]))

        _, said = self.play(PUBLISH + '\n- name: ' + last, groups, hosts)
        call = self.read('call.summary')
        self.assertEqual(call[:-1], [self.program, 'notify', 'summary'], said)
        published = {'version': 1, 'packages': [{'name': 'a', 'security': True}], 'failure': None, 'warnings': ['it\'s "odd"']}
        self.assertEqual(json.loads(call[-1]), {'hosts': dict.fromkeys(('ctl', 'failed', 'well'), published)})


if __name__ == '__main__':
    unittest.main()
