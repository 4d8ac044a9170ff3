"""Reports an ansible-playbook run as JSON lines on an inherited file descriptor.

The other end is the Go package runner. Each line is one event; all that is
needed to follow the run comes first, the task's own result is the last member,
"data". Needs ansible-core alone, 2.14 or later.
"""
import _thread
import atexit
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import threading
import time

from ansible import constants, context
from ansible.executor import task_result
from ansible.executor.process.worker import WorkerProcess
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import connection_loader, shell_loader
from ansible.release import __version__
from ansible.template import Templar

DOCUMENTATION = """
    name: runner_events
    type: aggregate
    short_description: events as JSON lines for the Go package runner
    description: Does nothing unless RUNNER_EVENTS_FD names an open file descriptor.
"""

MSG = 2000   # characters of a failure's reason in the head
NAME = 500   # characters of a name in the head
GRACE = 5    # seconds between asking the run to end and ending it
LOOK = 500   # milliseconds between two looks at the workers
# Seconds between two looks of Ansible's at what has come from its forks, while something comes and when nothing did for a while:
# each goes through all hosts of a play, and at Ansible's own 1 ms keeps a sixth of a core busy with it.
BUSY, IDLE = 0.01, 0.1
LATE = 5     # seconds that the result of a worker that was killed may still be on its way
PR_SET_PDEATHSIG = 1    # prctl(2)


def opaque(value):
    """Stands for what JSON has no type for. str() might decrypt a vault value."""
    return '<%s>' % type(value).__name__


def dumps(value):
    try:
        return json.dumps(value, default=opaque, skipkeys=True, allow_nan=False, separators=(',', ':'))
    except (ValueError, TypeError, RecursionError):
        pass
    try:  # NaN and Infinity are no JSON: name them
        return json.dumps(json.loads(json.dumps(value, default=opaque, skipkeys=True), parse_constant=str))
    except (ValueError, TypeError, RecursionError):
        return '{"unserializable":true}'


def short(value, limit):
    text = value if isinstance(value, str) else opaque(value)
    return text if len(text) <= limit else text[:limit - 1] + '…'


def reason(data):
    """Why it failed, in the words of the module, ssh or the command."""
    parts = []
    for key in ('censored', 'msg', 'reason', 'stderr', 'stdout', 'module_stderr', 'module_stdout', 'exception'):
        text = data.get(key)
        if isinstance(text, (list, tuple)):
            text = '; '.join(t for t in text if isinstance(t, str))
        # 2.19 puts words of its own before and, for want of a traceback, after.
        text = text.strip().removeprefix('Task failed: ') if isinstance(text, str) else ''
        if text and text not in parts and text != '(traceback unavailable)':
            parts.append(text)
        if len(parts) == 2:
            break
    return short(': '.join(parts), MSG)


def kept(data):
    """A result without the module's arguments, which are long, and of which not all modules know the secret
    ones, and without the exception that 2.19 leaves in a hidden one."""
    hidden = {'invocation', 'exception'} if 'censored' in data else {'invocation'}
    return {
        k: kept(v) if k == 'async_result' and isinstance(v, dict) else v  # of an async task that took too long
        for k, v in data.items() if k not in hidden}


def others(mark, control):
    """The other processes of this run, by the mark in their environment: workers
    of 2.19 and daemons have sessions of their own. ssh masters overwrite theirs
    with their title: of them, those on the run's own control path."""
    entry = os.fsencode('RUNNER_MARK=%s' % mark)
    for pid in map(int, filter(str.isdigit, os.listdir('/proc') if mark else ())):
        try:
            with open('/proc/%d/cmdline' % pid, 'rb') as f:
                name = f.read().split(b'\0')[0].rstrip()
            with open('/proc/%d/environ' % pid, 'rb') as f:
                marked = pid != os.getpid() and entry in f.read().split(b'\0')
        except OSError:
            continue
        master = name.startswith(b'ssh: ') and name.endswith(b' [mux]')
        if master and control and name.startswith(b'ssh: ' + os.fsencode(control) + b'/') or marked and not master:
            yield pid, master


def hide_exceptions():
    """2.19 prints the exception of a failed task before its result, no_log or not."""
    shown = getattr(CallbackBase, '_handle_exception', None)
    if shown is None:
        return

    def handle(self, result, *args, **kwargs):
        if 'censored' in result:
            result.pop('exception', None)
        return shown(self, result, *args, **kwargs)

    CallbackBase._handle_exception = handle


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'aggregate'
    CALLBACK_NAME = 'runner_events'
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self):
        super().__init__()
        self.paced = constants.DEFAULT_INTERNAL_POLL_INTERVAL == 0.001  # nobody says otherwise
        self.last = 0
        self.play = ''
        self.began = {}
        self.workers = {}
        self.handlers = set()
        try:
            self.fd = int(os.environ.pop('RUNNER_EVENTS_FD'))
            os.set_inheritable(self.fd, False)
        except (KeyError, ValueError, OSError):
            self.disabled = True
            return
        # From here on watch() sees the starter's death. The kernel would send a
        # signal for each thread of the starter that ends, and the second one
        # kills 2.19 before it has ended the others.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, *map(ctypes.c_ulong, (0, 0, 0, 0)))
        # A shell that starts a job in the background has it ignore SIGINT;
        # then nothing but SIGKILL could end this run.
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        hide_exceptions()
        labels = json.loads(os.environ.get('RUNNER_LABELS', '[]'))
        self.emit('start', dict({'version': __version__}, **({'labels': labels} if labels else {})))
        if self.disabled:  # the starter died before anything began
            os._exit(1)
        oldest = os.environ.get('RUNNER_OLDEST', '0').split('.')
        if [int(n) for n in __version__.split('.')[:2]] < [int(n) for n in oldest]:
            sys.stdout.flush()
            os._exit(1)  # before any host was touched
        atexit.register(self.at_exit)
        self.follow()
        threading.Thread(target=self.watch, daemon=True).start()

    def orphaned(self, wait):
        """Whether the reading end is closed, after at most wait milliseconds."""
        poll = select.poll()
        poll.register(self.fd, 0)  # for POLLERR alone
        return bool(poll.poll(wait))

    def watch(self):
        """Ends the run when nobody listens any more: the starter died. Until then looks after the workers."""
        while not self.orphaned(LOOK):
            self.look()
            if self.paced and time.monotonic() - self.last > 1:
                constants.DEFAULT_INTERNAL_POLL_INTERVAL = IDLE
        self.sweep(signal.SIGINT)
        # Not by a signal: the starter's death sent one already, and 2.19 leaves
        # the second one to the kernel, which would spare the workers.
        _thread.interrupt_main()
        time.sleep(GRACE)  # as a rule the run ends here
        self.sweep(signal.SIGKILL)
        os._exit(1)

    def look(self):
        """Fails the task of a worker that was killed, for want of memory for instance. The strategies free and
        host_pinned would wait for its result for ever."""
        for key, known in list(self.workers.items()):
            queue, host, task, process, died = known
            if process.poll() is None:
                continue
            if process.returncode >= 0 or key[:2] not in self.began:
                del self.workers[key]  # its result is on its way, or has come
            elif not died:
                known[4] = time.monotonic()
            elif time.monotonic() - died > LATE:
                del self.workers[key]
                self.fail(queue, host, task, -process.returncode)

    def follow(self):
        """Knows each worker from its start: one that is killed at once is gone before anybody looks."""
        start = WorkerProcess.start

        def started(worker):
            start(worker)
            host, task, process = worker._host, worker._task, worker._popen
            self.workers[host.get_name(), task._uuid, process.pid] = [worker._final_q, host, task, process, 0]
        WorkerProcess.start = started

    @staticmethod
    def fail(queue, host, task, number):
        """Gives the run the result that a worker owes it."""
        data = {'failed': True, 'msg': 'its worker of ansible-playbook, on the controller, was ended by %s: look at the memory there'
                                       % signal.Signals(number).name}
        raw = getattr(task_result, '_RawTaskResult', None)
        if raw:  # 2.19
            queue.send_task_result(raw(host=host, task=task, return_data=data, task_fields=task.dump_attrs()))
        else:
            queue.send_task_result(host.get_name(), task._uuid, data, task_fields=task.dump_attrs())

    def at_exit(self):
        if self.orphaned(0):
            self.sweep(signal.SIGKILL)

    @staticmethod
    def sweep(number):
        for pid, master in others(os.environ.get('RUNNER_MARK'), os.environ.get('RUNNER_CONTROL_PATH_DIR')):
            try:
                os.kill(pid, signal.SIGKILL if master else number)
            except OSError:
                pass

    def emit(self, kind, head, data=None):
        if self.paced:
            self.last, constants.DEFAULT_INTERNAL_POLL_INTERVAL = time.monotonic(), BUSY
        line = dict(kind=kind, time=time.time(), **head)
        text = json.dumps(line, default=opaque, separators=(',', ':'))
        if data is not None:
            text = text[:-1] + ',"data":' + dumps(data) + '}'
        rest = memoryview(text.encode('ascii') + b'\n')
        try:
            while rest:
                rest = rest[os.write(self.fd, rest):]
        except OSError:
            self.disabled = True  # watch() sees it too, and ends the run

    def task_head(self, task, name=None):
        role = task._role.get_name() if task._role else ''
        # Ansible puts the role before the name of a task, and not before that in a result
        head = {'play': self.play, 'task': short(name or task.get_name().removeprefix(role + ' : '), NAME), 'id': str(task._uuid)}
        if role:
            head['role'] = short(role, NAME)
        return head

    def result(self, kind, result, status, ignored=False):
        task, host = result._task, result._host.get_name()
        try:
            data = kept(result._result)
        except RecursionError:  # 2.19 makes plain types of it, and gives up on many levels
            data = {'changed': result.is_changed(), 'unserializable': True}
        if isinstance(data.get('results'), list):  # those of a loop's items
            data['results'] = [kept(r) if isinstance(r, dict) else r for r in data['results']]
        fields = result._task_fields or {}
        head = dict(
            self.task_head(task, fields.get('name')), path=task.get_path() or '', action=short(task.action, NAME),
            host=host, status='changed' if status == 'ok' and data.get('changed') else status)
        if ignored:
            head['ignored'] = True
        if kind == 'item':
            label = '(no_log)' if 'censored' in data else self._get_item_label(data)
            head['item'] = short(label if isinstance(label, str) else dumps(label), NAME)
        if isinstance(data.get('attempts'), int):
            head['attempts'] = data['attempts']
        if fields.get('delegate_to'):
            head['delegated'] = short(fields['delegate_to'], NAME)
        key = (host, task._uuid)
        started = self.began.pop(key, 0) if kind == 'result' else self.began.get(key, 0)
        if started:
            head['started'] = started
        if task._uuid in self.handlers:
            head['handler'] = True
        if status in ('failed', 'unreachable') or kind == 'retry':
            head['msg'] = reason(data)
        self.emit(kind, head, data)

    def v2_playbook_on_start(self, playbook):
        # Once, and not in each worker: every task on every host forks one.
        for plugins, name in ((connection_loader, 'ssh'), (shell_loader, 'sh')):
            with contextlib.suppress(Exception):
                plugins.get(name, class_only=True)
        with contextlib.suppress(Exception):
            Templar(loader=None).template('{{ 0 }}')
        gc.freeze()     # or the first collection in each worker copies all that it shares with this process
        self.emit('playbook', {'path': os.path.abspath(playbook._file_name)}, dict(context.CLIARGS))

    def v2_playbook_on_play_start(self, play):
        self.play = short(play.get_name().strip(), NAME)
        self.emit('play', {'play': self.play, 'id': str(play._uuid), 'path': play.get_path() or ''})

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.emit('task', dict(self.task_head(task), path=task.get_path() or '', action=short(task.action, NAME),
                               tags=[short(t, NAME) for t in task.tags]))

    def v2_playbook_on_handler_task_start(self, task):
        self.handlers.add(task._uuid)
        self.emit('task', dict(self.task_head(task), path=task.get_path() or '', action=short(task.action, NAME),
                               tags=[short(t, NAME) for t in task.tags], handler=True))

    def v2_runner_on_start(self, host, task):
        self.began[(host.get_name(), task._uuid)] = time.time()
        self.emit('begin', dict(self.task_head(task), host=host.get_name()))

    def v2_runner_retry(self, result):
        self.result('retry', result, 'failed')

    def v2_runner_on_async_poll(self, result):
        self.emit('poll', {'play': self.play, 'host': result._host.get_name()})

    def v2_runner_item_on_ok(self, result):
        self.result('item', result, 'ok')

    def v2_runner_item_on_failed(self, result):
        self.result('item', result, 'failed', bool(result._task.ignore_errors))

    def v2_runner_item_on_skipped(self, result):
        self.result('item', result, 'skipped')

    def v2_runner_on_ok(self, result):
        self.result('result', result, 'ok')

    def v2_runner_on_skipped(self, result):
        self.result('result', result, 'skipped')

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result('result', result, 'failed', bool(ignore_errors))

    def v2_runner_on_unreachable(self, result):
        self.result('result', result, 'unreachable', bool(result._task.ignore_unreachable))

    def v2_playbook_on_stats(self, stats):
        self.emit('stats', {}, {host: stats.summarize(host) for host in stats.processed})
