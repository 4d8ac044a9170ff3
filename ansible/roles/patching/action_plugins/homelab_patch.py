"""The task homelab_patch, on the controller: ask the program that the host has, instead of sending a module each time. How well
its units are is asked of its systemd.

A module costs controller and host some 0.2 s of CPU, most of it to pack, send and load what the host has already. It is sent
where the host does not have this very version, as the first time, and where pipelining is off.

Each task costs the controller a process for each host, also one that is skipped, and each expression in it 2 ms, because each
process compiles it anew. So the role's variables are read and checked here, and what can be told from the answer is told here:
whether a restart is wanted, whether the link was lost to a host that had answered, and, where nothing follows in the play, what
the host publishes.
"""
import importlib.util
import json
import os
import re
import subprocess
import time

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var

ROLE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROLE, 'module_utils')


def agreed():
    """What is agreed on with the host, homelab_call.py, and the version that it is asked for."""
    spec = importlib.util.spec_from_file_location('homelab_call', os.path.join(FOLDER, 'homelab_call.py'))
    call = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(call)
    sources = {}
    for name in os.listdir(FOLDER):
        if name.startswith('homelab_') and name.endswith('.py'):
            with open(os.path.join(FOLDER, name), encoding='utf-8') as f:
                sources[name] = f.read()
    return call, call.version(sources)


def options():
    """The role's variables, as meta/argument_specs.yml has them. The plan of the run is none that a person writes, and large."""
    with open(os.path.join(ROLE, 'meta', 'argument_specs.yml'), encoding='utf-8') as f:
        found = yaml_load(f)['argument_specs']['main']['options']
    return {name: option for name, option in found.items() if name != 'homelab_patch_plan'}


def key_exchange(command):
    """The algorithms by which ssh would agree on keys, by what this `ssh -G` says."""
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=10).stdout.decode()
    return re.search(r'^kexalgorithms (\S+)$', said, re.M).group(1)


# Actions with a result, and what the role asks of them by its name alone: a filter or a test in an expression is 20 ms more, in
# which Ansible loads all there are.
ANSWERS = ('look', 'plan', 'prepare', 'upgrade')
UNLESS_SAID = {'lost': False, 'restarted': False, 'restart': False, 'published': False, 'to_record': False, 'over': True}
# Seconds of one question to a host that is at work. Each answer tells how far it is.
WATCH = 20
# Once, in the process that forks one for each task and host.
(CALL, VERSION), OPTIONS = agreed(), options()
# The id of a run by hand, which nobody has given one.
BY_HAND = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())


class ActionModule(ActionBase):
    """What Ansible makes of the task."""

    asked = False       # by this task before: it is repeated while the host is at work
    first = False       # of the tasks that ask for the upgrade: the host was not asked before in this play
    leaves = False      # nothing follows the role in the play
    last = False        # nor has anything that the role does to follow this task
    settings = None     # the role's variables, see read
    deadline = 0

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        if self._task.args['action'] == 'health':
            self.connect_anew(light=True)
            return dict(result, **self.health())
        if self._task.args['action'] in ANSWERS:
            result.update(UNLESS_SAID)
        if not self.asked:
            here = task_vars.get('homelab_patch_controller', task_vars['inventory_hostname'])
            if self._connection.transport == 'local' and here != task_vars['inventory_hostname']:
                raise AnsibleActionFail('this host is reached by the connection local, which is %s itself: look at ansible_connection, at '
                                        'transport in ansible.cfg, and at ANSIBLE_TRANSPORT' % here)
            wrong = self.read(task_vars)
            if wrong:
                return dict(result, failed=True, msg='Validation of arguments failed: ' + '; '.join(wrong))
            self.take_arguments(task_vars)
        else:       # a hold that was put there while the upgrade is at work does not make it undone
            self._task.args['look'] = False
        if self._task.args['action'] == 'doctor':
            self.connect_anew()
        try:
            said = self.ask() if self._is_pipelining_enabled('new', self._task.async_val) else None
            if said is None:
                # a copy: Ansible writes into what it sends, and this task may be repeated
                said = self._execute_module(module_args=dict(self._task.args), task_vars=task_vars)
                self._remove_tmp_path(self._connection._shell.tmpdir)
        except AnsibleConnectionFailure as e:
            if self._task.args['action'] != 'upgrade' or (self.first and not self.asked and CALL.BEGUN not in str(e)):
                raise
            said = {'lost': True, 'msg': str(e)}
        self.asked = True
        result.update(said)
        result['run'] = self._task.args['run']
        if result.get('state') == 'running':
            result['over'] = result['failed'] = time.monotonic() > self.deadline
        if self._task.args['action'] == 'record' and '__patching_failure' in task_vars:
            result['failed'] = False        # the first failure is the one that counts
        if result.get('state', 'done') == 'done' and result.get('result') and not result.get('failed'):
            self.judge(result, task_vars)
        return result

    def read(self, task_vars):
        """Take the role's variables, checked as Ansible checks a role's; what is wrong with them."""
        given = self._templar.template({name: task_vars[name] for name in OPTIONS if name in task_vars})
        checked = ArgumentSpecValidator(OPTIONS).validate(given)
        self.settings = dict(checked.validated_parameters, idle=bool(task_vars.get('__patching_idle')))
        return checked.error_messages

    def take_arguments(self, task_vars):
        """Give the host what it needs to know, and keep what it does not. `first: true` has the host looked at and patched, or
        what comes before that by check mode and by tasks of the operator's."""
        arguments, s = dict(self._task.args), self.settings
        hooks = bool(s['patching_pre_tasks'] or s['patching_post_tasks'])
        self.first = arguments.pop('first', False)
        self.leaves = arguments['action'] == 'prepare' or (self.first and bool(task_vars.get('__patching_last')))
        self.last = self.leaves and (self._task.check_mode or not hooks)
        if self.first:
            arguments.update(look=True, record=s['patching_reboot'] != 'always')
            arguments['action'] = 'plan' if self._task.check_mode else 'look' if hooks else 'upgrade'
        arguments['run'] = s.get('homelab_patch_run_id') or BY_HAND
        if arguments['action'] in ('plan', 'prepare', 'upgrade', 'record', 'doctor'):
            arguments['policy'] = {name: s[name if name == 'idle' else 'patching_' + name] for name in CALL.POLICY}
        if arguments['action'] in ('plan', 'prepare', 'upgrade') and 'homelab_patch_plan' in task_vars:
            arguments['plan'] = task_vars['homelab_patch_plan'].get(task_vars['inventory_hostname'])
            if not arguments['plan']:
                raise AnsibleActionFail('the run has no versions for this host (homelab_patch_plan): nothing is done here')
        if arguments['action'] in ('prepare', 'upgrade'):
            arguments['wait'] = max(1, min(WATCH, s['patching_timeout'] // 2))
            self.deadline = time.monotonic() + s['patching_timeout']
        elif arguments['action'] == 'settle':
            arguments['wait'] = s['patching_settle_timeout']
        elif arguments['action'] == 'plan':
            arguments['detailed'] = s['homelab_patch_detailed']
        elif arguments['action'] == 'record':
            said = task_vars.get('homelab_patch') or task_vars['__patching_upgrade']['homelab_patch']
            arguments['success'] = all(said[name] is None for name in ('failure', 'hold', 'rollback'))
            arguments['held'] = said['hold'] is not None
        self._task.args = arguments

    def connect_anew(self, light=False):
        """Have ssh take no connection that is open already: such a one goes on answering after sshd has stopped. `-S none` wins
        over every ControlPath."""
        if self._connection.transport == 'ssh':
            theirs = self._connection.get_option('ssh_extra_args') or ''
            self._connection.set_option('ssh_extra_args', ('-S none %s %s' % (theirs, self.lightly() if light else '')).strip())

    def lightly(self):
        """An option that has ssh agree on keys by X25519 first, where it would by sntrup761 and X25519 together: that takes
        OpenSSH 9.2 60 ms, a fourth of what a host with nothing to do costs. The algorithms stay the same, in another order. What is
        kept from a computer of decades to come are names of units: where a password is sent the order stays, and where
        ssh's configuration has one of its own.
        """
        connection = self._connection
        if connection.get_option('password') or (connection.become and connection.become.get_option('become_pass')):
            return ''
        program, host = connection.get_option('ssh_executable'), connection.get_option('host')
        try:
            configured = key_exchange(connection._build_command(program, 'ssh', '-G', host))
            default = key_exchange([program, '-F', 'none', '-G', host])
        except Exception:       # not a way to ask this one: then it is as it is
            return ''
        first, *others = default.split(',')
        light = 'curve25519-sha256'
        if configured != default or not first.startswith('sntrup761') or light not in others:
            return ''
        return '-o KexAlgorithms=' + ','.join([light, first] + [name for name in others if name != light])

    def health(self):
        """What systemd says now. The host needs no Python for it, whose start would take it longer than the answer."""
        # with something on its standard input it gets no terminal, on which a login would be noted
        done = self._low_level_execute_command(CALL.HEALTH, in_data=b'\n' if self._is_pipelining_enabled('new') else None)
        said, problem = CALL.read_health(done['rc'], done['stdout'], done['stderr'])
        return {'failed': True, 'msg': problem} if problem else {'homelab_health': wrap_var(said)}

    def ask(self):
        """The answer of the host's program, or None if the module has to be sent."""
        _, arguments = self.validate_argument_spec(argument_spec=CALL.ARGUMENTS)
        asked = {'version': VERSION, 'arguments': arguments, 'check': bool(self._task.check_mode)}
        done = self._low_level_execute_command(CALL.COMMAND, in_data=json.dumps(asked).encode())
        said = [line for line in done['stdout'].splitlines() if line.startswith(CALL.ANSWER)]
        if done['rc'] == 0 and said:
            answer = json.loads(said[-1][len(CALL.ANSWER):])
            return wrap_var({name: answer[name] for name in CALL.SAYS if name in answer})
        # No python3, no program, a damaged one, another version: nothing was begun, and the module mends it, or Ansible has words
        if CALL.BEGUN not in done['stderr']:
            return None
        # in the words of a module that has failed: the role puts them into its own
        return wrap_var({'failed': True, 'rc': done['rc'], 'msg': 'MODULE FAILURE: the program of the host gave no answer',
                         'module_stdout': done['stdout'], 'module_stderr': done['stderr']})

    def judge(self, result, task_vars):
        """Say in the result what follows: restart, or restart_due where that is not the role's to do, for a host cannot restart the
        very machine that drives it. Where nothing follows in the play that could change it, homelab_patch is what the host publishes, and
        to_record whether that is to be recorded.

        A restart is due once a run: a host that has booted since its upgrade, whoever has restarted it, is only judged.
        """
        found, policy, restarted = result['result'], self.settings['patching_reboot'], bool(result.get('restarted'))
        due = (self._task.args['action'] == 'upgrade' and found['hold'] is None and not found['rebooted'] and not restarted
               and (policy == 'always' or (policy == 'auto_if_required' and found['reboot_required'] and not found['reboot_futile'])))
        driver = (self._templar.template(task_vars.get('ansible_connection', 'ssh')) == 'local'
                  or task_vars['inventory_hostname'] in task_vars['groups'].get('patch_controller', []))
        result.update(restart=due and not driver, restart_due=due and driver)
        if self.leaves and (self.last or found['hold'] is not None) and not (restarted or result['restart']):
            check = bool(self._task.check_mode)
            result['homelab_patch'] = dict(result.pop('result'), check=check, reboot_due=result['restart_due'])
            result.update(published=True, to_record=not check and not result.get('recorded'))
