"""The task homelab_patch, on the controller: ask the program that the host has, instead of sending a module each time.

A module costs controller and host some 0.2 s of CPU, most of it to pack, send and load what the host has already. It is sent
where the host does not have this very version, as the first time, and where pipelining is off.

Each task of Ansible's costs the controller a process for each host, also one that is skipped. So what can be told from the
answer is told here: whether a restart is wanted, whether the link was lost to a host that had answered, and, where nothing
follows, what the host publishes.
"""
import importlib.util
import json
import os
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'module_utils')


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


# Actions that ask over a connection of their own: one that is open already goes on answering after sshd has stopped.
FRESH = ('health', 'doctor')
# Once, in the process that forks one for each task and host.
CALL, VERSION = agreed()
# The id of a run by hand, which nobody has given one.
BY_HAND = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())


class ActionModule(ActionBase):
    """What Ansible makes of the task."""

    publish = None      # see published; None where there is nothing to publish
    first = False       # the host was not asked before in this play
    asked = False       # by this task before: it is repeated while the host is at work

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        self.take_arguments()
        if self._task.args.get('action') in FRESH:
            self.connect_anew()
        try:
            said = self.ask() if self._is_pipelining_enabled('new', self._task.async_val) else None
            if said is None:
                said = self._execute_module(task_vars=task_vars)
                self._remove_tmp_path(self._connection._shell.tmpdir)
        except AnsibleConnectionFailure as e:
            if self._task.args.get('action') != 'upgrade' or (self.first and not self.asked and CALL.BEGUN not in str(e)):
                raise
            said = {'lost': True, 'msg': str(e)}
        self.asked = True
        result.update(said, run=self._task.args['run'])
        if self.publish and result.get('state', 'done') == 'done' and result.get('result') and not result.get('failed'):
            self.published(result)
        return result

    def take_arguments(self):
        """Keep to ourselves what the host is not asked, and give it what nobody else knows."""
        arguments = dict(self._task.args, run=self._task.args.get('run') or BY_HAND)
        if not self.asked:
            self.publish, self.first = arguments.pop('publish', None), arguments.get('look', False)
        else:       # a hold that was put there while the upgrade is at work does not make it undone
            arguments['look'] = False
        self._task.args = arguments

    def connect_anew(self):
        """Have ssh take no connection that is open already. `-S none` wins over every ControlPath."""
        if self._connection.transport == 'ssh':
            theirs = self._connection.get_option('ssh_extra_args') or ''
            self._connection.set_option('ssh_extra_args', ('-S none ' + theirs).strip())

    def ask(self):
        """The answer of the host's program, or None if the module has to be sent."""
        _, arguments = self.validate_argument_spec(argument_spec=CALL.ARGUMENTS)
        asked = {'version': VERSION, 'arguments': arguments, 'check': bool(self._task.check_mode)}
        # -S: it needs nothing of what site-packages has, and starts without looking there
        done = self._low_level_execute_command('/usr/bin/python3 -IS %s call' % CALL.PROGRAM, in_data=json.dumps(asked).encode())
        said = [line for line in done['stdout'].splitlines() if line.startswith(CALL.ANSWER)]
        if done['rc'] == 0 and said:
            return wrap_var(json.loads(said[-1][len(CALL.ANSWER):]))
        # 2: python3 cannot open it, or it does not know `call`. 127: no python3, of which Ansible has its own words
        if done['rc'] in (2, 127, CALL.OTHER_VERSION):
            return None
        # in the words of a module that has failed: the role puts them into its own
        return wrap_var({'failed': True, 'rc': done['rc'], 'msg': 'MODULE FAILURE: the program of the host gave no answer',
                         'module_stdout': done['stdout'], 'module_stderr': done['stderr']})

    def published(self, result):
        """Say in the result whether a restart is wanted, and put what the host publishes there where nothing follows that could
        change it. publish has the policy's reboot, may_reboot, and last, whether this can be the last question to the host.

        Once a run: a host that has booted since its upgrade, whoever has restarted it, is only judged.
        """
        found, check, restarted = result['result'], bool(self._task.check_mode), bool(result.get('restarted'))
        wanted = (not check and found['hold'] is None and not found['rebooted'] and not restarted
                  and (self.publish['reboot'] == 'always' or (self.publish['reboot'] == 'auto_if_required'
                       and found['reboot_required'] and not found['reboot_futile'])))
        result['reboot_wanted'] = wanted
        if self.publish['last'] and (found['hold'] is not None or not (restarted or (wanted and self.publish['may_reboot']))):
            result['homelab_patch'] = dict(result.pop('result'), check=check, reboot_due=wanted)
