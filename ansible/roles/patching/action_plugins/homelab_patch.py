"""The task homelab_patch, on the controller: ask the program that the host has, instead of sending a module each time.

A module costs controller and host some 0.2 s of CPU, most of it to pack, send and load what the host has already. It is sent
where the host does not have this very version, as the first time, and where pipelining is off.
"""
import importlib.util
import json
import os

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


class ActionModule(ActionBase):
    """What Ansible makes of the task."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        if self._task.args.get('action') in FRESH:
            self.connect_anew()
        said = self.ask() if self._is_pipelining_enabled('new', self._task.async_val) else None
        if said is None:
            said = self._execute_module(task_vars=task_vars)
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.update(said)
        return result

    def connect_anew(self):
        """Have ssh take no connection that is open already. `-S none` wins over every ControlPath."""
        if self._connection.transport == 'ssh':
            theirs = self._connection.get_option('ssh_extra_args') or ''
            self._connection.set_option('ssh_extra_args', ('-S none ' + theirs).strip())

    def ask(self):
        """The answer of the host's program, or None if the module has to be sent."""
        _, arguments = self.validate_argument_spec(argument_spec=CALL.ARGUMENTS)
        asked = {'version': VERSION, 'arguments': arguments, 'check': bool(self._task.check_mode)}
        done = self._low_level_execute_command('/usr/bin/python3 -I %s call' % CALL.PROGRAM, in_data=json.dumps(asked).encode())
        said = [line for line in done['stdout'].splitlines() if line.startswith(CALL.ANSWER)]
        if done['rc'] == 0 and said:
            return wrap_var(json.loads(said[-1][len(CALL.ANSWER):]))
        # 2: python3 cannot open it, or it does not know `call`. 127: no python3, of which Ansible has its own words
        if done['rc'] in (2, 127, CALL.OTHER_VERSION):
            return None
        # in the words of a module that has failed: the role puts them into its own
        return wrap_var({'failed': True, 'rc': done['rc'], 'msg': 'MODULE FAILURE: the program of the host gave no answer',
                         'module_stdout': done['stdout'], 'module_stderr': done['stderr']})
