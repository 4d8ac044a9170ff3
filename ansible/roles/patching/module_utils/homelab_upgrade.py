"""What the unit does: one upgrade of this host, and a durable result whatever happens."""
import contextlib
import errno
import fcntl
import os
import signal
import struct
import subprocess
import time

from . import homelab_apt as apt
from . import homelab_freeze as freeze
from . import homelab_lists as lists
from . import homelab_metrics as metrics
from . import homelab_plan as plan
from . import homelab_reboot as reboot
from . import homelab_replaced as replaced
from .homelab_system import (APT_LOG, APT_STATUS, BEFORE, ENV, PROGRESS, RESULT, Failure, boot_id,
                             empty_result, failed_units, read_json, read_text, run, tail, write_durable, write_json)

LOCKS = ('/var/lib/dpkg/lock-frontend', '/var/lib/dpkg/lock', '/var/lib/apt/lists/lock', '/var/cache/apt/archives/lock')
# The hook of needrestart after each dpkg would tell the log what is asked for at the end anyway.
QUIET = dict(ENV, NEEDRESTART_SUSPEND='1')
KEEP_CONFFILES = ['-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold',
                  '-o', 'Dpkg::Use-Pty=0', '-o', 'DPkg::Lock::Timeout=120']


class Upgrade:
    """One run of the unit. result grows step by step and is what the host reports."""

    def __init__(self, request):
        self.policy = request['policy']
        self.caller = request.get('caller', [])
        self.plan = request.get('plan')         # versions of the run: see homelab_freeze; None is whatever the mirror has
        self.options = []
        self.result = empty_result(request['run'])
        self.before = {}
        self.security = set()
        self.known_files = set()
        self.changed = False
        self.stopping = False

    def steps(self):
        """Each phase in its order, by the name that a failure gives it. An idle run changes no package: there was nothing to
        do when it was asked whether the operator's own tasks are to be run before."""
        steps = (('lock', self.wait_for_dpkg), ('dpkg', self.repair), ('space', self.check_space),
                ('lists', self.refresh), ('remove', self.remove_unattended), ('upgrade', self.upgrade),
                ('autoremove', self.autoremove), ('services', self.restart_services))
        return [s for s in steps if not self.policy.get('idle') or s[0] not in ('remove', 'autoremove')]

    def carry_out(self):
        try:
            self.begin()
            for phase, step in self.steps():
                if self.stopping:
                    raise Failure(phase, 'the host is being shut down, or the unit was stopped: run again')
                self.progress(phase)
                step()
        except Failure as e:
            self.result['failure'] = e.data()
        except Exception as e:      # a bug must still leave a result
            import traceback
            self.result['failure'] = Failure('internal', 'homelab-patch failed: %s' % e, traceback.format_exc()).data()
        self.progress('result')
        self.finish()

    def begin(self):
        """Note the packages as they are, unless a run whose changes nobody has published noted them before."""
        write_durable(APT_LOG, b'')
        units = failed_units()
        kept = read_json(BEFORE)
        if kept:
            self.result['reattached'] = True
        else:
            kept = {'packages': apt.installed(), 'security': [], 'failed_units': units, 'dist_files': dist_files()}
            write_json(BEFORE, kept)
        self.before, self.security = kept['packages'], set(kept['security'])
        self.known_files = set(kept['dist_files'])
        self.result['failed_units'] = {'before': kept['failed_units'], 'after': units}

    def progress(self, phase, total=0):
        tell('%s: %s%s' % (self.result['run'], phase, ', %d packages' % total if total else ''))
        write_json(PROGRESS, {'run': self.result['run'], 'phase': phase, 'total': total})

    def warn(self, text):
        self.result['warnings'].append(text)

    def wait_for_dpkg(self):
        wait_for_locks(self.policy['lock_timeout'])

    def repair(self):
        said = apt.audit()
        if not said:
            return
        _, log = self.call(['dpkg', '--configure', '-a', '--force-confdef', '--force-confold'])
        left = apt.audit()
        if left:
            name, _ = apt.broken_package('', log)
            raise Failure('dpkg', 'dpkg is not in order and `dpkg --configure -a` does not mend it%s: repair it by hand'
                          % (': package %s fails' % name if name else ''), left + '\n' + tail(log))
        self.warn('dpkg was interrupted earlier; `dpkg --configure -a` has mended it')

    def check_space(self, names=()):
        short = plan.short_of_space(self.policy, names)
        if short:
            raise Failure('space', '; '.join(short))

    def refresh(self):
        """See to the package lists: the host's own, refreshed, or those of the run's plan, as they were when it was made."""
        if not self.plan:
            self.result['lists_age_seconds'], warnings = lists.renew(self.policy['lists_max_age'])
            self.result['warnings'] += warnings
            return
        if not freeze.made(self.plan['id']):
            _, warnings = lists.renew(self.policy['lists_max_age'])
            self.result['warnings'] += warnings
            freeze.make(self.plan['id'], late=True)
        self.options = freeze.options(self.plan['id'])
        self.result['lists_age_seconds'] = max(0, int(time.time()) - freeze.made(self.plan['id']))

    def remove_unattended(self):
        remove, warning = plan.unattended(self.policy, apt.installed(), options=apt.LIVE)
        if warning:
            self.warn(warning)
        if remove:
            self.apt_get(plan.REMOVE + [plan.UNATTENDED], [plan.UNATTENDED])

    def upgrade(self):
        found = plan.survey(self.policy, apt.installed(), options=apt.LIVE + self.options, given=self.plan)
        self.result['warnings'] += found['warnings']
        self.result.update(held_packages=found['held'], kept_back=found['kept_back'], excluded=found['excluded'])
        if not found['install'] and not found['remove']:
            return
        if self.policy.get('idle'):
            self.warn('there is something to upgrade since a moment ago, when patching_pre_tasks had no reason to run: left for '
                      'the next run')
            return
        self.check_space(list(found['install']))
        self.security.update(n for n, p in found['install'].items() if p['security'])
        write_json(BEFORE, dict(read_json(BEFORE), security=sorted(self.security)))
        if self.plan and not freeze.complete(self.plan['id'], {n: p['to'] for n, p in found['install'].items()}):
            freeze.download(found['command'], found['pins'], self.options)
        self.keep_replaced([n for n, p in found['install'].items() if p['from']] + list(found['remove']))
        self.progress('upgrade', len(found['install']) + len(found['remove']))
        self.apt_get(self.options + found['command'], [n for n, p in found['install'].items() if p['from'] != p['to']]
                     + list(found['remove']), found['pins'])

    def keep_replaced(self, names):
        self.progress('keep')
        self.result['replaced'], warnings = replaced.keep(self.result['run'], names, self.policy)
        self.result['warnings'] += warnings

    def autoremove(self):
        if self.plan and self.plan['packages'] is not None and '' not in self.plan['packages'].values():
            return      # nobody planned to remove anything
        names = plan.removable(self.policy, os.uname().release, options=apt.LIVE + self.options)
        if self.plan:   # what nobody planned to remove is left for the next run
            names = plan.alone([n for n in names if self.plan['packages'] is None or self.plan['packages'].get(n) == ''],
                               apt.LIVE + self.options)
        if names:
            self.apt_get(plan.REMOVE + names, names)

    def restart_services(self):
        """One pass over services that run old code. What must not be restarted asks for a reboot instead."""
        found = reboot.needrestart()
        services = [n for n in found['services'] if not reboot.spared(n, self.caller)]
        kept = reboot.overridden(services)
        if kept:
            self.warn('old code runs in %s, which needrestart is set to leave alone' % ', '.join(kept))
            services = [n for n in services if n not in kept]
        if services and not apt.changes(self.before, apt.installed(), ()):
            self.warn('nothing was upgraded, so nothing is restarted, but old code runs in ' + ', '.join(services))
            services = []
        for name in services:
            if run(restart_command(name), timeout=120).returncode == 0:
                self.result['services_restarted'].append(name)
            else:
                self.warn('%s could not be restarted after the upgrade' % name)
        reboot.judge(self.result, *reboot.state(found, self.caller))
        self.result['failed_units']['after'] = failed_units()
        fresh = set(self.result['failed_units']['after']) - set(self.result['failed_units']['before'])
        if fresh:
            raise Failure('services', 'failed since the upgrade began: %s' % ', '.join(sorted(fresh)))
        if found['problem']:
            raise Failure('needrestart', found['problem'])

    def call(self, argv, status=False, pass_fds=()):
        """Run what changes the host; (exit code, what it printed).

        It prints into apt.log, and we copy that into the journal: our own death does not break a pipe of it.
        """
        self.changed = True
        with open(APT_LOG, 'ab') as log, open(APT_STATUS, 'wb') as lines, open(APT_LOG, 'rb') as printed:
            printed.seek(0, os.SEEK_END)
            if status:
                argv, pass_fds = argv + ['-o', 'APT::Status-Fd=%d' % lines.fileno()], tuple(pass_fds) + (lines.fileno(),)
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=QUIET, pass_fds=pass_fds)
            text, code = b'', None
            while code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(1)
                new = printed.read()
                tell(new)
                text += new
            return code, text.decode(errors='replace')

    def apt_get(self, args, names=(), pins=''):
        """Have apt-get change packages, of which these do not stay as they are."""
        before = apt.installed()
        with apt.pinned(pins) as (options, fds):
            code, log = self.call(['apt-get', '-y'] + apt.PLAIN + KEEP_CONFFILES + options + args, status=True, pass_fds=fds)
        if code == 0:
            after = apt.installed()
            same = sorted(n for n in names if after.get(n) == before.get(n))
            if same:
                raise Failure('upgrade', 'apt-get reports success and has not touched %s%s: look at `apt-config dump` on the host for '
                              'APT::Get::Download-Only or APT::Get::Simulate' % (', '.join(same[:3]), ', …' if same[3:] else ''), tail(log))
            return
        name, message = apt.broken_package(read_text(APT_STATUS), log)
        if name:
            reason = 'package %s failed%s' % (name, ': ' + message if message else '')
        elif code < 0:
            reason = 'apt-get was ended by signal %d' % -code
        else:
            reason = 'apt-get failed: ' + apt.first_error(log)
        raise Failure('upgrade', reason, tail(log))

    def finish(self):
        r = self.result
        if self.before:
            r['packages'] = apt.changes(self.before, apt.installed(), self.security)
            r['conffiles'] = sorted(set(dist_files()) - self.known_files)
        try:
            r['dpkg_audit'] = apt.audit()
        except Failure as e:
            r['failure'] = r['failure'] or e.data()
        if r['dpkg_audit'] and not r['failure']:
            r['failure'] = Failure('dpkg', 'apt-get reports success, but dpkg is not in order: look at `dpkg --audit` on the '
                                   'host; the next run tries to mend it', r['dpkg_audit']).data()
        if not r['kernel']['running']:
            reboot.judge(r, *reboot.state({'kernel': 0, 'services': []}))
        pending = plan.pending(options=apt.LIVE + self.options)
        # A retry installs the same versions. From lists that do not have them it could not.
        if not r['failure'] or (self.plan and r['failure']['phase'] == 'drift' and freeze.late(self.plan['id'])):
            freeze.clear()
        warning = metrics.missing(self.policy['textfile_dir'])
        if warning:
            self.warn(warning)
        write_json(RESULT, {'run': r['run'], 'published': False, 'boot_id': boot_id(),
                            'changed': self.changed or bool(r['packages']),
                            'pending': pending, 'result': r})
        for line in r['warnings'] + ([r['failure']['reason']] if r['failure'] else []):
            tell('%s: %s' % (r['run'], line))


def tell(text):
    """Write to the journal: of our own unit that is standard output."""
    data = text if isinstance(text, bytes) else text.encode() + b'\n'
    with contextlib.suppress(OSError):      # a journal that is gone stops no upgrade
        while data:
            data = data[os.write(1, data):]


def restart_command(name):
    """needrestart calls systemd itself systemd-manager: it is not restarted, it executes itself anew."""
    return ['systemctl', 'daemon-reexec'] if name == 'systemd-manager' else ['systemctl', 'restart', name]


def dist_files():
    """New versions of configuration files that dpkg or ucf has put beside the operator's own."""
    return [os.path.join(folder, name) for folder, _, names in os.walk('/etc') for name in names
            if name.endswith(('.dpkg-dist', '.dpkg-new', '.ucf-dist'))]


def wait_for_locks(timeout):
    """Wait until nobody holds a lock of apt's or dpkg's; raises Failure after timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        path, pid = lock_holder()
        if not path:
            return
        if time.monotonic() >= deadline:
            raise Failure('lock', '%s is still held by %s after %d s: let it finish, or stop it'
                          % (path, process_name(pid), timeout))
        time.sleep(1)


def lock_holder():
    """(path, pid) of a lock of apt's or dpkg's that another process holds, ('', 0) if all are free."""
    for path in LOCKS:
        try:
            with open(path, 'rb') as f:
                # struct flock: type, whence, start, length, pid
                asked = struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                kind, _, _, _, pid = struct.unpack('hhqqi4x', fcntl.fcntl(f, fcntl.F_GETLK, asked))
        except OSError as e:
            if e.errno == errno.ENOENT:
                continue
            raise
        if kind != fcntl.F_UNLCK:
            return path, pid
    return '', 0


def process_name(pid):
    command = ' '.join(read_text('/proc/%d/cmdline' % pid).replace('\0', ' ').split())
    return 'process %d (%s)' % (pid, command[:120] or 'unknown')


def apply(upgrade):
    """Carry out what the unit was asked to do, and let no stop cut it."""
    def stop(_signal, _frame):
        upgrade.stopping = True     # dpkg in the middle of its work is never cut: the step ends, the next is not begun

    signal.signal(signal.SIGTERM, stop)
    upgrade.carry_out()
