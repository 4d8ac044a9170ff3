"""What an upgrade replaces, kept as .deb files on this host for a way back. Keeping never fails an upgrade."""
import contextlib
import glob
import os
import re
import time

from .homelab_apt import native_architecture
from .homelab_system import REPLACED, remove_tree, run, sync_dir

RUNS = 3                # folders that stay, the newest
REPACKING = 300         # seconds that dpkg-repack may take in one run
CACHE = '/var/cache/apt/archives'
REPACK = ('/usr/bin/dpkg-repack', '/usr/local/bin/dpkg-repack')
BRIEF = 5               # names in a sentence
# Why a package is not kept though the policy wants it: these are said aloud. That apt's cache does not have a .deb is
# what most hosts are like, and is in the result alone.
LIMIT, SPACE = 'over patching_keep_replaced_mib', 'too little space is free'
ABSENT, OFF = 'its .deb is not in apt\'s cache, and dpkg-repack is not installed', 'patching_keep_replaced_mib is 0'


def folder(run_id):
    """Where a run keeps what it replaces. Whoever made the id up: it names one folder below REPLACED."""
    return os.path.join(REPLACED, re.sub(r'[^A-Za-z0-9._-]|^\.', '_', run_id))


def file_name(name, version, architecture):
    """As apt names a .deb."""
    return '%s_%s_%s.deb' % (name.partition(':')[0], version.replace(':', '%3a'), architecture)


def keep(run_id, names, policy):
    """Keep a .deb of the installed version of each package: from apt's cache, else made by dpkg-repack where that is.

    Returns ({'kept': [{name, version, source}], 'missing': [{name, version, reason}]}, warnings). Nothing is installed for
    it, no lock is held, and no error comes out of it.
    """
    said, warnings = {'kept': [], 'missing': []}, []
    wanted = {}
    try:
        wanted = details(names)
        Keeper(folder(run_id), int(policy.get('keep_replaced_mib', 0)), policy['min_free_mib']).keep(wanted, said)
    except Exception as e:      # a bug in here is no reason not to patch either
        warnings.append('what this upgrade replaces could not be kept: %s' % e)
        done = {p['name'] for p in said['kept'] + said['missing']}
        said['missing'] += [{'name': n, 'version': w['version'], 'reason': str(e)} for n, w in wanted.items() if n not in done]
    reasons = {}
    for p in sorted(said['missing'], key=lambda p: p['name']):
        reasons.setdefault(p['reason'], []).append(p['name'])
    warnings += ['there is no way back for %s: %s' % (brief(n), r) for r, n in reasons.items()
                 if r not in (ABSENT, OFF) and not warnings]
    for packages in said.values():
        packages.sort(key=lambda p: p['name'])
    return said, warnings


def brief(names):
    more = len(names) - BRIEF
    return ', '.join(names[:BRIEF]) + (' and %d more' % more if more > 0 else '')


def details(names):
    """{name: {version, architecture, file, size}} of those that are installed; size is that on the disk, in bytes."""
    if not names:
        return {}
    native, found = native_architecture(), {}
    out = run(['dpkg-query', '-W', '-f', '${Package}\t${Architecture}\t${Version}\t${Installed-Size}\n'] + sorted(names)).stdout
    for line in out.splitlines():
        name, architecture, version, size = (line.split('\t') + [''] * 4)[:4]
        full = name if architecture in (native, 'all') else name + ':' + architecture
        if full in names and version:
            found[full] = {'version': version, 'architecture': architecture, 'file': file_name(name, version, architecture),
                           'size': int(size or 0) << 10}
    return found


class Keeper:
    """One run's folder, and what may be put into it: limit MiB in all folders together, and of what is free beyond what
    the policy wants to stay free a quarter, for apt needs room as well."""

    def __init__(self, place, limit, min_free):
        self.place, self.limit = place, limit << 20
        self.reserve = max([int(min_free.get(p, 0)) for p in ('/', '/var')]) << 20
        self.deadline = time.monotonic() + REPACKING
        self.repacks = any(os.access(path, os.X_OK) for path in REPACK)

    def keep(self, wanted, said):
        if self.limit <= 0:
            remove_tree(REPLACED)
            said['missing'] += [{'name': n, 'version': w['version'], 'reason': OFF} for n, w in sorted(wanted.items())]
            return
        if not wanted:
            return
        os.makedirs(REPLACED, mode=0o700, exist_ok=True)
        for old in self.others()[RUNS - 1:]:
            remove_tree(old)
        os.makedirs(self.place, mode=0o700, exist_ok=True)
        # Those of apt's cache cost a link, and come first; then the small ones, to have as many as the limit allows.
        for name, want in sorted(wanted.items(), key=lambda item: (not self.cached(item[1]), item[1]['size'], item[0])):
            source, reason = '', ''
            try:
                source, reason = self.one(name, want)
            except OSError as e:
                reason = e.strerror or str(e)
            where, what = ('kept', {'source': source}) if source else ('missing', {'reason': reason})
            said[where].append(dict({'name': name, 'version': want['version']}, **what))
        with contextlib.suppress(OSError):
            os.rmdir(self.place)        # only if there is nothing in it
        sync_dir(REPLACED)

    def others(self):
        """The folders of other runs, newest first."""
        with os.scandir(REPLACED) as entries:
            found = sorted(((e.stat().st_mtime, e.path) for e in entries if e.is_dir(follow_symlinks=False)), reverse=True)
        return [path for _, path in found if path != self.place]

    def cached(self, want):
        return os.path.isfile(os.path.join(CACHE, want['file']))

    def one(self, name, want):
        """Keep one package; (source, '') or ('', why not)."""
        path, cached = os.path.join(self.place, want['file']), os.path.join(CACHE, want['file'])
        if holds(path, name, want['version']):      # of a unit that was cut short
            return 'kept', ''
        if self.cached(want) and holds(cached, name, want['version']):
            return self.link(cached, path)
        if not self.repacks:
            return '', ABSENT
        return self.repack(name, want, path)

    def link(self, cached, path):
        """apt never writes into a .deb in its place, and so a link is a copy that costs nothing."""
        size = os.path.getsize(cached)
        if not self.fits(size):
            return '', LIMIT
        try:
            os.link(cached, path)
        except OSError:                 # another file system
            if size > self.room():
                return '', SPACE
            import shutil
            self.settle(path, lambda temp: shutil.copyfile(cached, temp))
        return 'cache', ''

    def repack(self, name, want, path):
        """dpkg-repack copies the files of the package first, and then packs them: it needs twice their size at most."""
        if not self.fits(want['size']):
            return '', LIMIT
        if 2 * want['size'] > self.room():
            return '', SPACE
        left = int(self.deadline - time.monotonic())
        if left <= 0:
            return '', 'dpkg-repack had taken %d s for others' % REPACKING
        work = os.path.join(self.place, '.work')
        remove_tree(work)
        os.mkdir(work, 0o700)
        try:
            done = run(['env', '-C', work, 'dpkg-repack', '-d', '-Zgzip', '-d', '-z1', name], timeout=left)
            made = glob.glob(os.path.join(work, '*.deb'))
            if done.returncode != 0 or len(made) != 1 or not holds(made[0], name, want['version']):
                return '', 'dpkg-repack could not: %s' % ((done.stderr.strip().splitlines() or ['no reason given'])[-1])
            self.settle(path, lambda temp: os.rename(made[0], temp))
            return 'repacked', ''
        finally:
            remove_tree(work)

    def settle(self, path, make):
        """Have make write a file, and give it its name when it is whole on the disk."""
        temp = path + '.new'
        try:
            make(temp)
            fd = os.open(temp, os.O_RDONLY)
            try:
                os.fchmod(fd, 0o600)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temp, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temp)
            raise

    def fits(self, size):
        """Whether so many bytes more are within the limit, when the folders of older runs have gone for them."""
        others = self.others()
        while weight([self.place] + others) + size > self.limit:
            if not others:
                return False
            remove_tree(others.pop())
        return True

    def room(self):
        stat = os.statvfs(self.place)
        return (stat.f_bavail * stat.f_frsize - self.reserve) // 4


def weight(folders):
    """Bytes of the files directly in these folders."""
    total = 0
    for path in folders:
        with os.scandir(path) as entries:
            total += sum(e.stat(follow_symlinks=False).st_size for e in entries)
    return total


def holds(path, name, version):
    """Whether a file is a .deb of this very version."""
    if not os.path.isfile(path):
        return False
    said = run(['dpkg-deb', '-f', path, 'Package', 'Version'], timeout=60).stdout
    fields = dict(line.split(': ', 1) for line in said.splitlines() if ': ' in line)
    return (fields.get('Package'), fields.get('Version')) == (name.partition(':')[0], version)


def find(run_id, name, version, anywhere=True):
    """(path, source) of a .deb that this host has: of that run, of a later one, or in apt's cache; ('', '') if none.

    anywhere: whether any but that run's counts.
    """
    own = folder(run_id)
    folders = [own] + ([p for p in sorted(glob.glob(REPLACED + '/*'), reverse=True) if p != own] + [CACHE] if anywhere else [])
    _, _, foreign = name.partition(':')
    for place in folders:
        for architecture in [foreign] if foreign else [native_architecture(), 'all']:
            path = os.path.join(place, file_name(name, version, architecture))
            if holds(path, name, version):
                return path, 'cache' if place == CACHE else 'kept'
    return '', ''
