"""Prints the CPU microseconds that one task of one host costs in the callback plugin argv[1]: its begin and its result.

The result's data is a command's whose output is the file argv[2]. Somebody reads the events, as in a run.
"""
import importlib.util
import os
import subprocess
import sys
import time

from ansible.executor.task_result import TaskResult
from ansible.inventory.host import Host
from ansible.playbook.task import Task

TASKS = 5000

with open(sys.argv[2]) as f:
    text = f.read()
reading, writing = os.pipe()
reader = subprocess.Popen(['cat'], stdin=reading, stdout=subprocess.DEVNULL)
os.close(reading)
os.environ['RUNNER_EVENTS_FD'] = str(writing)
spec = importlib.util.spec_from_file_location('runner_events', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
plugin = module.CallbackModule()

host, task = Host('a1'), Task.load({'name': 'Output', 'ansible.builtin.command': 'cat outputs.txt'})
data = {'changed': True, 'cmd': ['cat', 'outputs.txt'], 'rc': 0, 'start': '2026-01-01 00:00:00.000001',
        'end': '2026-01-01 00:00:00.100001', 'delta': '0:00:00.100000', 'msg': '', 'stderr': '', 'stderr_lines': [],
        'stdout': text, 'stdout_lines': text.splitlines()}
began = time.process_time()
for _ in range(TASKS):
    plugin.v2_runner_on_start(host, task)
    plugin.v2_runner_on_ok(TaskResult(host, task, data, {}))
took = time.process_time() - began
if plugin.disabled or reader.poll() is not None:
    sys.exit('nobody read the events')
print(took / TASKS * 1e6)
sys.stdout.flush()
os._exit(0)  # not by the plugin's own end: it would look for processes of a run
