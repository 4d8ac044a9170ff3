"""The package lists: refresh them, tell whose sources failed and how old Debian's lists are."""
import collections
import contextlib
import fcntl
import os
import re
import time

from .homelab_apt import LISTS, PLAIN, PRIVATE, first_error
from .homelab_system import STATE, Failure, read_text, run, tail, write_durable

# When all of Debian's sources were last reached, as far as we saw. Times of apt's own files do not tell: they are the
# archive's, or those of an attempt of which one source, whichever, went well.
STAMP = STATE + '/lists-refreshed'
COPY = 'homelab-patch-'     # begins the names of our private copies

TIMEOUTS = ['-o', 'Acquire::Retries=2', '-o', 'Acquire::http::Timeout=30', '-o', 'Acquire::https::Timeout=30']
# Hooks of apt-get update write outside the lists. -o cannot take them away, a file can.
CONFIG = '''Dir::State::lists "{0}/lists";
Dir::Cache "{0}/cache";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
'''
# apt downloads as the user _apt, and fails where root may become nobody else: in the sandbox of the controller's own unit,
# which is what confines apt there.
AS_ROOT = 'APT::Sandbox::User "root";\n'
SET_IDS = 1 << 6 | 1 << 7   # CAP_SETGID, CAP_SETUID

ERR = re.compile(r'^Err:\d+ (\S+) (\S+) ?(.*)$')
REACHED = re.compile(r'^(?:Hit|Get):\d+ (\S+) (\S+) (?:In)?Release\b')
ADDRESS = re.compile(r'[a-z][a-z+]*:/[^\s\']*')
# ftp.debian.org, also behind a cache that has it in the path: http://cache:3142/ftp.debian.org/debian
DEBIANS_HOST = re.compile(r'[/.](debian\.org|ubuntu\.com)(:\d+)?(/|$)')

# problem: why the lists must not be used, or ''. fresh: all of Debian's sources were reached.
Refreshed = collections.namedtuple('Refreshed', 'problem detail warnings fresh')


def plain(site):
    """An address as it can be compared and shown: no user, no password, no slash at its end."""
    return re.sub(r':/+$', ':', re.sub(r'//[^/@]*@', '//', site).rstrip('/')).replace(':///', ':/')


def parse_update(text):
    """The sources that `apt-get update` could not refresh: [{site, release, what, reason}]."""
    errors, lines = [], text.splitlines()
    for i, line in enumerate(lines):
        m = ERR.match(line)
        if not m:
            continue
        reason = lines[i + 1].strip() if i + 1 < len(lines) and lines[i + 1].startswith(' ') else 'no reason given'
        errors.append({'site': plain(m.group(1)), 'release': m.group(2), 'what': m.group(3), 'reason': reason})
    return errors


def parse_reached(text):
    """The sources whose Release `apt-get update` got, or was told is still the same: {(site, release)}."""
    found = (REACHED.match(line) for line in text.splitlines())
    return {(plain(m.group(1)), m.group(2)) for m in found if m}


def parse_sources(text):
    """The lines of source_origins: {(site, release): 'Origin Label'}."""
    origins = {}
    for line in text.splitlines():
        fields = line.split('|')
        if len(fields) == 4:
            origins[plain(fields[0]), fields[1]] = fields[2] + ' ' + fields[3]
    return origins


def source_origins(options=()):
    """What the lists on disk say of each source. A source never fetched is not among them."""
    return parse_sources(run(['apt-get', 'indextargets', '--format', '$(SITE)|$(RELEASE)|$(ORIGIN)|$(LABEL)']
                             + PRIVATE + list(options)).stdout)


def debians(origin):
    """Whether 'Origin Label' of a Release is Debian's, Ubuntu's, or that of a security archive."""
    return origin.startswith(('Debian', 'Ubuntu')) or 'security' in origin.lower()


def host(site):
    m = re.match(r'[a-z+]+://([^/]+)', site)
    return m.group(1) if m else ''


def is_debians(site, release, origins, failed=()):
    """Whether a source is Debian's own or a security archive. failed: addresses of all sources that failed.

    Its last Release says so. A source that was never fetched has none. Then it is Debian's when another suite of the
    same address is, when its host is Debian's or also serves Debian, or when the suite is for security. An address
    that merely ends in /debian is a local mirror only where nothing else is Debian's: third parties have it as well.
    """
    same = {r: origin for (s, r), origin in origins.items() if s == site}
    for known, origin in same.items():
        if release == known or release.startswith(known + '/'):
            return debians(origin)
    if same:
        return any(debians(origin) for origin in same.values())
    if DEBIANS_HOST.search(site) or site.endswith('/debian-security') or re.search(r'-security(/|$)', release):
        return True
    if host(site) and host(site) in {host(s) for (s, _), origin in origins.items() if debians(origin)}:
        return True
    others = any(debians(o) for o in origins.values()) or any(DEBIANS_HOST.search(s) for s in failed)
    return not others and site.endswith(('/debian', '/ubuntu'))


def judge(done, origins):
    """What a finished `apt-get update` means. A third party's broken source is a warning, all else is a problem."""
    errors = parse_update(done.stdout)
    failed = [e['site'] for e in errors]
    problems, warnings = [], []
    ours = {(e['site'], e['release']) for e in errors if is_debians(e['site'], e['release'], origins, failed)}
    # where nothing is known to be Debian's, every source may be
    nobody = not ours and not any(debians(o) for o in origins.values())
    for e in errors:
        said = 'the source %s %s cannot be refreshed: %s' % (e['site'], e['release'], e['reason'])
        (problems if nobody or (e['site'], e['release']) in ours else warnings).append(said)
    own = {}
    for site, release in list(origins) + [(e['site'], e['release']) for e in errors]:
        # an address that has one suite of Debian's is Debian's, whatever else it serves
        own[site] = own.get(site, False) or is_debians(site, release, origins, failed)
    for line in done.stderr.splitlines():
        if not line.startswith('E: '):
            continue
        site = source_of(line, own)
        if site in failed or any(line.rstrip().endswith(e['reason']) for e in errors if 'Failed to fetch' in line):
            continue                # repeats what its Err: line says
        if site and not own[site]:
            warnings.append('a source cannot be refreshed: ' + line[3:].strip())
        elif 'Some index files failed to download' not in line or not (problems or warnings):
            problems.append('apt-get update failed: ' + line[3:].strip())
    if done.returncode != 0 and not problems and not warnings:
        problems.append('apt-get update failed: ' + first_error(done.stderr))
    reached = parse_reached(done.stdout) - {(e['site'], e['release'].split('/')[0]) for e in errors}
    wanted = [source for source, origin in origins.items() if debians(origin)] or list(origins)
    fresh = bool(wanted) and not problems and all(
        # a list of mirrors is not what apt reports: it names the mirror it took
        source in reached or (source[0].startswith('mirror') and source[1] in {r for _, r in reached})
        for source in wanted)
    return Refreshed(problems[0] if problems else '', tail(done.stderr) if problems else '',
                     list(dict.fromkeys(warnings)), fresh)


def source_of(line, sites):
    """The one of sites that the first address in a line belongs to, '' for none."""
    address = plain(next(iter(ADDRESS.findall(line)), ''))
    return max((s for s in sites if address == s or address.startswith(s + '/')), key=len, default='')


def refresh(options=(), timeout=900):
    """Run `apt-get update` and judge it. Its cache is left for who needs it: with Debian's lists that is a second's work."""
    done = run(['apt-get', 'update', '-o', 'pkgCacheFile::Generate=false'] + PLAIN + TIMEOUTS + list(options), timeout=timeout)
    return judge(done, source_origins(options))


def renew(max_age):
    """Refresh the host's own lists; (their age, warnings). A third party's broken source is a warning; Debian's own ends
    the run."""
    seen = refresh()
    warnings = list(seen.warnings)
    if seen.problem:
        raise Failure('lists', seen.problem, seen.detail)
    if seen.fresh:
        write_durable(STAMP, b'')
    old = age()
    if old < 0:
        raise Failure('lists', 'there are no package lists of Debian\'s, although nothing failed: look at the sources '
                      'in /etc/apt')
    if old > max_age:
        raise Failure('lists', 'the package lists are %d hours old: apt-get update did not reach all of Debian\'s '
                      'sources, although it reports no failure: look at the sources in /etc/apt' % (old // 3600))
    if not seen.fresh:
        warnings.append('not all of Debian\'s sources were reached: the package lists are %d hours old' % (old // 3600))
    return old, warnings


def age():
    """Seconds since Debian's package lists were last refreshed; -1 if they never were, as far as is known."""
    newest = 0.0
    with contextlib.suppress(OSError):
        newest = os.stat(STAMP).st_mtime
    with contextlib.suppress(OSError):
        if 0 < newest < time.time() + 60 and any(name.endswith('Release') for name in os.listdir(LISTS)):
            return max(0, int(time.time() - newest))
    return -1


@contextlib.contextmanager
def locked(folder):
    """Hold a lock on a folder of ours, so that it is told from what a killed check left."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def sweep(base='/var/tmp'):
    """Remove the copies that a killed check left. One of a moment ago may not be locked yet."""
    import shutil
    for entry in list(os.scandir(base)):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if (entry.name.startswith(COPY) and entry.is_dir(follow_symlinks=False)
                    and status.st_uid == os.geteuid() and time.time() - status.st_mtime > 60):
                with locked(entry.path):
                    shutil.rmtree(entry.path)


@contextlib.contextmanager
def recent(max_age, timeout=300):
    """(options, age, warnings) to plan with lists no older than max_age, without a change to the host.

    Lists that are older are copied into a folder of our own, refreshed there, and removed at the end. Where that
    does not work the host's own are used, and a warning says so.
    """
    options, old = PRIVATE, age()
    sweep()
    if 0 <= old <= max_age:
        yield options, old, []
        return
    import tempfile
    with tempfile.TemporaryDirectory(prefix=COPY, dir='/var/tmp') as folder, locked(folder):
        try:
            seen = refresh(private_lists(folder), timeout)
            problem = seen.problem or ('' if seen.fresh else 'not all of Debian\'s sources were reached')
            warnings = seen.warnings
        except OSError as e:
            problem, warnings = e.strerror or str(e), []
        if not problem:
            yield PRIVATE + ['-c', folder + '/apt.conf'], 0, warnings
            return
    how = 'were never refreshed' if old < 0 else 'are %d hours old' % (old // 3600)
    yield options, old, warnings + ['planned with the package lists of the host, which %s: newer ones could not be '
                                    'fetched: %s' % (how, problem)]


def private_lists(folder):
    """Make folder a copy of the host's lists that apt may refresh; the options for it."""
    size = sum(e.stat().st_size for e in os.scandir(LISTS) if e.is_file())
    stat = os.statvfs(folder)
    if stat.f_bavail * stat.f_frsize < 2 * size + (256 << 20):
        raise OSError(28, 'no room for a second copy of them in ' + os.path.dirname(folder))
    import shutil
    # the copy saves most of the download: apt asks only for what is newer
    shutil.copytree(LISTS, folder + '/lists', ignore=shutil.ignore_patterns('partial', 'auxfiles', 'lock'))
    for name in ('lists/partial', 'cache/archives/partial'):
        os.makedirs(os.path.join(folder, name))
    with open(folder + '/apt.conf', 'w', encoding='utf-8') as f:
        f.write(CONFIG.format(folder) + (AS_ROOT if confined() else ''))
    for path in (folder, folder + '/lists'):
        os.chmod(path, 0o755)       # apt downloads as the user _apt
    return ['-c', folder + '/apt.conf']


def confined():
    """Whether this process may not become another user, root or not."""
    powers = re.search(r'^CapEff:\s*([0-9a-f]+)$', read_text('/proc/self/status'), re.M)
    return powers is not None and int(powers.group(1), 16) & SET_IDS != SET_IDS
