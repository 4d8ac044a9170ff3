"""Asking apt and dpkg, and reading what they print. Nothing here changes the host."""
import contextlib
import fnmatch
import os
import re
import time

from .homelab_system import STATE, read_text, run

# Read only: no lock taken, no cache written.
PRIVATE = ['-o', 'Debug::NoLocking=1', '-o', 'Dir::Cache::pkgcache=', '-o', 'Dir::Cache::srcpkgcache=']
LISTS = '/var/lib/apt/lists'
LISTS_STAMP = STATE + '/lists-refreshed'

INST = re.compile(r'^Inst (\S+)(?: \[([^\]]*)\])? \((\S+)(?: ([^\[\)]*?))?(?: \[[^\]]*\])?\)')
REMV = re.compile(r'^(?:Remv|Purg) (\S+)(?: \[([^\]]*)\])?')
ERR = re.compile(r'^Err:\d+ (\S+) (\S+) ?(.*)$')
KEPT = 'The following packages have been kept back:'
PHASED = 'The following upgrades have been deferred due to phasing:'
BROKEN = 'Errors were encountered while processing:'


def is_security(origins):
    """Whether one of 'Debian-Security:12/oldstable-security, Debian:12/oldstable' is a security archive."""
    return any('security' in o.lower() for o in origins.split(','))


def parse_simulation(text):
    """What `apt-get -s` would do: {'install': {name: {from, to, origin, security}}, 'remove', 'kept', 'phased'}."""
    install, gone = {}, {}
    for line in text.splitlines():
        m = INST.match(line)
        if m:
            origin = (m.group(4) or '').strip()
            install[m.group(1)] = {'from': m.group(2) or '', 'to': m.group(3),
                                   'origin': origin, 'security': is_security(origin)}
        m = REMV.match(line)
        if m:
            gone[m.group(1)] = m.group(2) or ''
    return {'install': install, 'remove': gone, 'kept': section(text, KEPT), 'phased': section(text, PHASED)}


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


def parse_update(text):
    """The sources that `apt-get update` could not refresh: [{site, release, what, reason}]."""
    errors, lines = [], text.splitlines()
    for i, line in enumerate(lines):
        m = ERR.match(line)
        if not m:
            continue
        reason = lines[i + 1].strip() if i + 1 < len(lines) and lines[i + 1].startswith(' ') else 'no reason given'
        errors.append({'site': m.group(1), 'release': m.group(2), 'what': m.group(3), 'reason': reason})
    return errors


def parse_sources(text):
    """The lines of source_origins: {(site, release): 'Origin Label'}."""
    origins = {}
    for line in text.splitlines():
        fields = line.split('|')
        if len(fields) == 4:
            origins[fields[0].rstrip('/'), fields[1]] = fields[2] + ' ' + fields[3]
    return origins


def source_origins():
    """What the lists on disk say of each source. A source never fetched is not among them."""
    return parse_sources(run(['apt-get', 'indextargets', '--format', '$(SITE)|$(RELEASE)|$(ORIGIN)|$(LABEL)']
                             + PRIVATE).stdout)


def is_debians(error, origins):
    """Whether a source that failed is Debian's own or a security archive.

    Its last Release says so (Origin Debian, or Security in the label). A source that was never fetched has
    none: then its address decides.
    """
    site = error['site'].rstrip('/')
    for (known, release), origin in origins.items():
        if known == site and (error['release'] == release or error['release'].startswith(release + '/')):
            return origin.startswith('Debian') or 'security' in origin.lower()
    return bool(re.search(r'/debian(-security)?$', site))


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


def native_architecture():
    return run(['dpkg', '--print-architecture']).stdout.strip()


def installed():
    """{name: version} of what is on the disk; a foreign architecture is part of the name, as apt prints it."""
    out = run(['dpkg-query', '-W', '-f', '${Package}\t${Architecture}\t${Version}\t${db:Status-Abbrev}\n']).stdout
    return parse_installed(out, native_architecture())


def parse_installed(text, native):
    packages = {}
    for line in text.splitlines():
        fields = line.split('\t')
        # second letter of the state: n and c have no files on the disk
        if len(fields) != 4 or len(fields[3]) < 2 or fields[3][1] in 'nc':
            continue
        name = fields[0] if fields[1] in (native, 'all') else fields[0] + ':' + fields[1]
        packages[name] = fields[2]
    return packages


def changes(before, after, security):
    """The difference of two installed(): [{name, from, to, security}]; to is '' for what is gone."""
    return [{'name': n, 'from': before.get(n, ''), 'to': after.get(n, ''), 'security': n in security}
            for n in sorted(set(before) | set(after)) if before.get(n) != after.get(n)]


def matching(patterns, names):
    """Those of names that one of the patterns (names or shell globs) means."""
    return sorted(n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns))


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


def simulate(args, pins='', private=True):
    """Ask apt-get what it would do. private: leave apt's own caches alone."""
    with pinned(pins) as (options, fds):
        done = run(['apt-get', '-s'] + (PRIVATE if private else ['-o', 'Debug::NoLocking=1']) + options + args,
                   pass_fds=fds)
    return dict(parse_simulation(done.stdout), rc=done.returncode, stderr=done.stderr, text=done.stdout)


def candidates(names, private=True):
    """{name: (installed, candidate)} as apt sees them, '' for none."""
    if not names:
        return {}
    out = run(['apt-cache', 'policy'] + (PRIVATE if private else []) + list(names)).stdout
    return parse_policy(out)


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


def held():
    return run(['apt-mark', 'showhold']).stdout.split()


def audit():
    return run(['dpkg', '--audit']).stdout.strip()


def lists_age():
    """Seconds since the package lists were last refreshed; -1 if they never were."""
    newest = 0.0
    for path in (LISTS_STAMP, LISTS + '/partial', '/var/lib/apt/periodic/update-success-stamp'):
        with contextlib.suppress(OSError):
            newest = max(newest, os.stat(path).st_mtime)
    if not any(name.endswith('Release') for name in os.listdir(LISTS)) or not newest:
        return -1
    return max(0, int(time.time() - newest))
