"""Asking apt and dpkg, and reading what they print. Nothing here changes the host."""
import contextlib
import fnmatch
import functools
import os
import re
import time

from .homelab_system import Failure, read_text, run

# Read only: no lock taken, no cache written.
PRIVATE = ['-o', 'Debug::NoLocking=1', '-o', 'Dir::Cache::pkgcache=', '-o', 'Dir::Cache::srcpkgcache=']
DATABASE = '/var/lib/dpkg'
LISTS = '/var/lib/apt/lists'
# For the unit, which may write apt's caches.
LIVE = ['-o', 'Debug::NoLocking=1']

# The origin is a person's to name, brackets and all; the architecture ends it.
INST = re.compile(r'^Inst (\S+)(?: \[(\S*)\])? \((\S+)(?: (.*))? \[\S+\]\)')
REMV = re.compile(r'^(?:Remv|Purg) (\S+)(?: \[([^\]]*)\])?')
KEPT = 'The following packages have been kept back:'
# What apt-get says is read, also where the host's own settings have it say nothing, or say it in another form.
PLAIN = ['-o', 'quiet=1', '-o', 'APT::Get::Show-Versions=false', '-o', 'APT::Output-Version=0']
# It lists what nothing needs any more whenever it plans anything, unless it is told not to.
UNNEEDED = re.compile(r'\bno longer required\b')
LISTED = ['-o', 'APT::Get::HideAutoRemove=false']
# Below 1001: what is newer from elsewhere and installed already stays.
SECURITY_FIRST = ('Package: *\nPin: release l=*security*\nPin-Priority: 990\n\n'
                  'Package: *\nPin: release a=*security*\nPin-Priority: 990\n\n')
PHASED = 'The following upgrades have been deferred due to phasing:'
BROKEN = 'Errors were encountered while processing:'


def is_security(origins):
    """Whether one of 'Debian-Security:12/oldstable-security, Debian:12/oldstable' is a security archive."""
    return any('security' in o.lower() for o in origins.split(','))


def parse_simulation(text):
    """What `apt-get -s` would do: {'install': {name: {from, to, origin, security}}, 'remove', 'kept', 'phased'}, and
    unneeded: whether something would be left that nothing needs."""
    install, gone = {}, {}
    for line in text.splitlines():
        m = INST.match(line)
        if m:
            origin = (m.group(4) or '').strip()
            install[m.group(1)] = {'from': m.group(2) or '', 'to': m.group(3),
                                   'origin': origin, 'security': is_security(origin)}
            continue
        m = REMV.match(line)
        if m:
            gone[m.group(1)] = m.group(2) or ''
        elif line.startswith(('Inst ', 'Remv ', 'Purg ')):
            raise Failure('plan', 'what apt-get says cannot be read: %r' % line[:200])
    return {'install': install, 'remove': gone, 'kept': section(text, KEPT), 'phased': section(text, PHASED),
            'unneeded': bool(UNNEEDED.search(text))}


def section(text, header):
    """The words of the indented lines below a header line of apt-get."""
    words, inside = [], False
    for line in text.splitlines():
        if line.strip() == header:
            inside = True
        elif inside and line.startswith(' '):
            words += line.split()
        else:
            inside = False
    return words


def first_error(text):
    """The first error line of apt or dpkg; without one, the last line there is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(('E: ', 'dpkg: error')):
            return line.split(': ', 1)[1].strip()
    return lines[-1] if lines else 'no reason given'


def broken_package(status, log):
    """(package, message) of the first package that failed, from apt's status lines or dpkg's summary."""
    for line in status.splitlines():
        fields = line.split(':', 3)
        if fields[0] == 'pmerror' and len(fields) == 4:
            return os.path.basename(fields[1]).split('_')[0], fields[3].strip()
    names = section(log, BROKEN)
    if names:
        return os.path.basename(names[0]).split('_')[0], ''
    return '', ''


@functools.lru_cache(maxsize=None)
def native_architecture():
    return run(['dpkg', '--print-architecture']).stdout.strip()


def installed():
    """{name: version} of what is on the disk; a foreign architecture is part of the name, as apt prints it."""
    # second letter of the state: n and c have no files on the disk
    return {name: version for name, version, state in database(database_time()) if state[1] not in 'nc'}


def held():
    """Names of packages that somebody has put on hold."""
    return [name for name, _, state in database(database_time()) if state[0] == 'h']


def database_time():
    """What tells whether dpkg has changed anything: its database, and its journal."""
    try:
        status = os.stat(DATABASE + '/status')
        return status.st_mtime_ns, status.st_ino, tuple(sorted(os.listdir(DATABASE + '/updates')))
    except OSError:
        return time.monotonic_ns()


@functools.lru_cache(maxsize=2)
def database(_when):
    """[(name, version, state)] of all that dpkg knows of. The same until it has changed anything: it is asked eight times a run."""
    done = run(['dpkg-query', '-W', '-f', '${Package}\t${Architecture}\t${Version}\t${db:Status-Abbrev}\n'])
    if done.returncode != 0:
        raise Failure('dpkg', 'dpkg-query does not say what is installed: ' + first_error(done.stderr), done.stderr)
    return parse_database(done.stdout, native_architecture())


def parse_database(text, native):
    lines = (line.split('\t') for line in text.splitlines())
    return [(f[0] if f[1] in (native, 'all') else f[0] + ':' + f[1], f[2], f[3]) for f in lines if len(f) == 4 and len(f[3]) > 1]


def changes(before, after, security):
    """The difference of two installed(): [{name, from, to, security}]; to is '' for what is gone."""
    return [{'name': n, 'from': before.get(n, ''), 'to': after.get(n, ''), 'security': n in security}
            for n in sorted(set(before) | set(after)) if before.get(n) != after.get(n)]


def matching(patterns, names):
    """Those of names that one of the patterns (names or shell globs) means, in each architecture."""
    return sorted(n for n in names if any(fnmatch.fnmatchcase(m, p) for p in patterns for m in (n, n.partition(':')[0])))


def pin_text(packages, patterns, versions):
    """apt preferences that keep packages at their version, and new packages of these patterns away."""
    text = ''.join('Package: %s\nPin: version %s\nPin-Priority: 1001\n\n' % (n, versions[n]) for n in packages)
    return text + ''.join('Package: %s\nPin: release *\nPin-Priority: -1\n\n' % p for p in patterns)


@contextlib.contextmanager
def pinned(text):
    """Options and file descriptors for one apt-get that obeys these pins beside the host's own.

    The pins live in memory only: a kill leaves nothing on the host that would go on holding packages.
    """
    if not text:
        yield [], ()
        return
    fd = os.memfd_create('pins')
    try:
        os.write(fd, (text + read_text('/etc/apt/preferences')).encode())
        yield ['-o', 'Dir::Etc::Preferences=/proc/self/fd/%d' % fd], (fd,)
    finally:
        os.close(fd)


def simulate(args, pins='', options=PRIVATE):
    """Ask apt-get what it would do. The answer is not to be changed: it is the same until dpkg or the lists have changed."""
    return simulated(database_time(), lists_time(), tuple(args), pins, tuple(options))


@functools.lru_cache(maxsize=4)
def simulated(_when, _lists, args, pins, options):
    """What simulate does: after an upgrade, two ask whether anything is left."""
    with pinned(pins) as (pinning, fds):
        done = run(['apt-get', '-s', *PLAIN, *LISTED, *options, *pinning, *args], pass_fds=fds)
    return dict(parse_simulation(done.stdout), rc=done.returncode, stderr=done.stderr, text=done.stdout)


def lists_time():
    """What tells whether the package lists have changed."""
    try:
        return os.stat(LISTS).st_mtime_ns
    except OSError:
        return time.monotonic_ns()


def candidates(names, pins='', options=PRIVATE):
    """{name: (installed, candidate)} as apt sees them, '' for none."""
    if not names:
        return {}
    with pinned(pins) as (pinning, fds):
        return parse_policy(run(['apt-cache', 'policy'] + options + pinning + list(names), pass_fds=fds).stdout)


def priorities(options=PRIVATE):
    """[(origins and archive, priority)] of each package list there is."""
    said = run(['apt-cache', 'policy'] + options).stdout
    return [(release, int(priority)) for priority, release in re.findall(r'^ *(-?\d+) .*\n +release (.*)$', said, re.M)]


def parse_policy(text):
    found, name = {}, ''
    for line in text.splitlines():
        if line and not line.startswith(' '):
            name = line.rstrip(':')
            found[name] = ['', '']
        elif line.startswith('  Installed: ') or line.startswith('  Candidate: '):
            value = line.split(': ', 1)[1].strip()
            found[name][line.startswith('  Candidate')] = '' if value == '(none)' else value
    return {n: tuple(v) for n, v in found.items()}


def audit():
    """What `dpkg --audit` finds, '' for nothing. Its own failure is not nothing."""
    done = run(['dpkg', '--audit'], timeout=60)
    if done.returncode != 0 and not done.stdout.strip():
        raise Failure('dpkg', 'dpkg --audit: ' + first_error(done.stderr), done.stderr)
    return parse_audit(done.stdout)


def parse_audit(text):
    """What `dpkg --audit` finds. A package built without checksums is none of it: it works, and nothing mends it."""
    return '\n\n'.join(p.strip('\n') for p in re.split(r'\n\n+', text)
                       if p.strip() and 'missing the md5sums control file' not in p)
