"""What the rest needs from the host: commands, durable files, systemd.

Everything runs as root on Debian 12 and later, with the standard library alone.
"""
import contextlib
import fcntl
import functools
import json
import os
import re
import subprocess
import time

from .homelab_call import OURS, UNIT

STATE = '/var/lib/homelab-patch'        # 0700; everything of ours on the host
REQUEST = STATE + '/request.json'       # what the unit was asked to do
PREPARE = STATE + '/prepare.json'       # what the unit that prepares was asked to do
PREPARED = STATE + '/prepared.json'     # how that went
BEFORE = STATE + '/before.json'         # packages as they were; kept until their changes are published
RESULT = STATE + '/result.json'         # how the last run of the unit went
PROGRESS = STATE + '/progress.json'
FUTILE = STATE + '/futile.json'         # what a reboot of ours did not help against, in which boot
METRICS = STATE + '/metrics.json'       # what patch.prom must remember between two writers
APT_LOG = STATE + '/apt.log'
APT_STATUS = STATE + '/apt.status'
LOCK = STATE + '/lock'
REPLACED = STATE + '/replaced'           # by run, the .debs of what it replaced
LEASE = STATE + '/lease.json'           # who keeps ansible-pull away from this host, and for how long
HOLD = '/etc/homelab/MAINTENANCE'
# Nothing may ask a question, and parsers need English.
ENV = {
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME': '/root',
    'LC_ALL': 'C.UTF-8',
    'DEBIAN_FRONTEND': 'noninteractive',
    'NEEDRESTART_MODE': 'l',
    'APT_LISTCHANGES_FRONTEND': 'none',
    'UCF_FORCE_CONFFOLD': '1',
}


class Failure(Exception):
    """A step that went wrong, in an operator's words. detail is the tail of the tool's own output."""

    def __init__(self, phase, reason, detail=''):
        super().__init__(reason)
        self.phase, self.reason, self.detail = phase, reason, detail

    def data(self):
        return {'phase': self.phase, 'reason': self.reason, 'detail': self.detail}


def run(argv, timeout=600, pass_fds=()):
    """Run argv and return it completed, as text. A missing program is exit code 127, a slow one 124."""
    if argv[0].startswith('apt-'):
        argv = argv[:1] + natively() + argv[1:]
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=ENV, timeout=timeout, pass_fds=pass_fds, encoding='utf-8', errors='replace')
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, '', argv[0] + ' is not installed')
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, '', '%s took more than %d s' % (argv[0], timeout))


@functools.lru_cache(maxsize=None)
def natively():
    """Options that save apt two questions to dpkg, each time, where there is one architecture."""
    native, foreign = (run(['dpkg', '--print-%sarchitecture%s' % part]) for part in (('', ''), ('foreign-', 's')))
    one = native.returncode == foreign.returncode == 0 and not foreign.stdout.strip()
    return ['-o', 'APT::Architectures::=' + native.stdout.strip()] if one else []


def read_text(path):
    """The text of a file, '' if it is not there."""
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            return f.read()
    except (FileNotFoundError, NotADirectoryError):
        return ''


def read_json(path):
    """The document in a file; None if there is none, or it is not JSON."""
    try:
        return json.loads(read_text(path))
    except ValueError:
        return None


def write_durable(path, data, mode=0o600):
    """Write data so that a power cut leaves the old file or the new one, never half of one."""
    temp = '%s.%d.new' % (path, os.getpid())
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(fd, 'wb') as f:
            f.write(data)
            f.flush()
            os.fchmod(f.fileno(), mode)
            os.fsync(f.fileno())
        os.rename(temp, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temp)
        raise
    sync_dir(os.path.dirname(path))


def write_json(path, document):
    write_durable(path, json.dumps(document).encode() + b'\n')


def remove(path):
    """Remove a file durably; none there is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_dir(os.path.dirname(path))


def remove_tree(path):
    """Remove a folder and all in it; what cannot be removed stays."""
    import shutil       # here: with it and its like a start takes a fifth longer, and most have no need of them
    shutil.rmtree(path, ignore_errors=True)


def sync_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_state_dir():
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    os.chmod(STATE, 0o700)


@contextlib.contextmanager
def locked():
    """Hold the lock of the state directory: one writer of patch.prom and of the state at a time."""
    make_state_dir()
    with open(LOCK, 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def hold():
    """The hold on this host: {'reason': text of the file}, or None."""
    if not os.path.lexists(HOLD):
        return None
    try:
        return {'reason': ' '.join(read_text(HOLD).split())[:200]}
    except OSError as e:
        return {'reason': 'unreadable: %s' % e.strerror}


def tail(text, lines=30, size=4000):
    return '\n'.join(text.strip().splitlines()[-lines:])[-size:]


def boot_id():
    return read_text('/proc/sys/kernel/random/boot_id').strip()


def caller():
    """Services this process runs in: of a session there is none, of a timer or a daemon its own."""
    parts = {part for line in read_text('/proc/self/cgroup').splitlines() for part in line.split('/')}
    # a restart of sshd leaves its sessions alone, whatever cgroup they are in
    return sorted(p for p in parts if p.endswith('.service') and p not in ('ssh.service', 'sshd.service'))


def has_systemd():
    return os.path.isdir('/run/systemd/system')


def unit_properties(*names, unit=UNIT):
    out = run(['systemctl', 'show', unit, '--property=' + ','.join(names)], timeout=60).stdout
    return dict(line.split('=', 1) for line in out.splitlines() if '=' in line)


def unit_active(unit=UNIT):
    """Whether the unit is at work. An answer we do not get counts as yes: two must never run."""
    return bool(at_work(unit))


def at_work(*units):
    """Those of the units that are at work, from one question. An answer we do not get counts as yes."""
    out = run(['systemctl', 'show', '--property=ActiveState', *units], timeout=60).stdout
    states = re.findall(r'^ActiveState=(\w*)$', out, re.M)
    if len(states) != len(units):
        return set(units)
    return {unit for unit, state in zip(units, states) if state not in ('inactive', 'failed')}


def failed_units():
    """Names of failed units, ours left out; [] where systemd does not run. Raises Failure where it does and gives no answer."""
    if not has_systemd():
        return []
    done = run(['systemctl', 'list-units', '--state=failed', '--plain', '--no-legend', '--full'], timeout=60)
    if done.returncode != 0:
        raise Failure('health', 'systemd does not say which units have failed: %s' % (done.stderr.strip() or 'exit code %d' % done.returncode))
    names = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    return sorted(n for n in names if n not in OURS)


def finished_starting(timeout):
    """Wait up to timeout seconds until systemd has finished starting; its state ('running', 'degraded', ...)."""
    deadline = time.monotonic() + timeout
    while True:
        state = run(['systemctl', 'is-system-running'], timeout=30).stdout.strip()
        if state not in ('', 'offline', 'unknown', 'initializing', 'starting') or time.monotonic() >= deadline:
            return state
        time.sleep(0.5)


def empty_result(run_id='', check=False):
    """A result with nothing in it, version 1: all keys, always."""
    return {
        'version': 1, 'run': run_id, 'check': check, 'hold': None,
        'packages': [], 'held_packages': [], 'kept_back': [], 'excluded': [], 'conffiles': [],
        'lists_age_seconds': 0, 'warnings': [],
        'reboot_required': False, 'reboot_reasons': [], 'reboot_forecast': '', 'reboot_due': False, 'rebooted': False, 'reboot_futile': False,
        'kernel': {'running': '', 'installed': '', 'state': 'unknown'},
        'services_restarted': [], 'failed_units': {'before': [], 'after': []},
        'dpkg_audit': '', 'reattached': False, 'replaced': {'kept': [], 'missing': []}, 'rollback': None, 'failure': None,
        'suite': '', 'architecture': '', 'archives': {}, 'conffile_prompts': [], 'services_forecast': [],
    }
