"""The versions of a run, kept on this host: the package lists as they were when it was prepared, and what was downloaded.

An apt-get that is given options() sees this archive and no later one, whatever the mirror has meanwhile.
"""
import contextlib
import glob
import os
import re
import time

from . import homelab_apt as apt
from . import homelab_replaced as replaced
from .homelab_apt import LISTS
from .homelab_lists import TIMEOUTS
from .homelab_system import Failure, read_json, read_text, remove_tree, run, tail, write_json

# Not below the state directory, which is ours alone: apt downloads as the user _apt.
FOLDER = '/var/cache/homelab-patch'
# apt is asked of the same lists some eight times a run: with a cache of its own each costs half of what reading Debian's
# lists anew does, a second less.
CONFIG = '''Dir::State::lists "{0}/lists";
Dir::Cache::archives "{0}/archives";
Dir::Cache::pkgcache "{0}/pkgcache.bin";
Dir::Cache::srcpkgcache "{0}/srcpkgcache.bin";
'''
LOCKLESS = ['-o', 'Debug::NoLocking=1']


def folder(plan):
    """Where the versions of a plan are kept. Its id came over the wire, and becomes a path."""
    if not re.fullmatch(r'[0-9A-Za-z][0-9A-Za-z-]*', plan):
        raise Failure('plan', 'the id of the plan is none: %r' % plan[:40])
    return os.path.join(FOLDER, plan)


def options(plan):
    """Options that have apt see the lists and archives of a plan."""
    return ['-c', folder(plan) + '/apt.conf']


def made(plan):
    """When the lists of a plan were taken, 0 if they are not here."""
    return (read_json(folder(plan) + '/made.json') or {}).get('time', 0)


def late(plan):
    """Whether the lists were taken when the host's turn had come, and not before the first wave."""
    return (read_json(folder(plan) + '/made.json') or {}).get('late', False)


def make(plan, late=False):
    """Keep the host's package lists as they are now, for this plan and no other."""
    clear()
    place = folder(plan)
    for name in ('lists/partial', 'archives/partial'):
        os.makedirs(os.path.join(place, name), mode=0o755)
    import shutil
    for entry in os.scandir(LISTS):
        if entry.is_file(follow_symlinks=False) and entry.name != 'lock':
            try:
                os.link(entry.path, os.path.join(place, 'lists', entry.name))     # apt replaces lists, it never changes one
            except OSError:
                shutil.copy2(entry.path, os.path.join(place, 'lists', entry.name))
    with open(place + '/apt.conf', 'w', encoding='utf-8') as f:
        f.write(CONFIG.format(place))
    write_json(place + '/made.json', {'time': int(time.time()), 'late': late})


def clear():
    """Give the room back. What was installed from here goes to apt's cache, where an apt-get without a plan would have left
    it: the next upgrade keeps it from there for a way back."""
    downloaded = glob.glob(glob.escape(FOLDER) + '/*/archives/*.deb')
    names = {os.path.basename(path).partition('_')[0] for path in downloaded}
    here = {p['file'] for p in replaced.details([n for n in apt.installed() if n.partition(':')[0] in names]).values()}
    for path in downloaded:
        name = os.path.basename(path)
        if name in here:
            with contextlib.suppress(OSError):      # another file system, say: no reason not to patch
                os.rename(path, os.path.join(replaced.CACHE, name))
    remove_tree(FOLDER)


def complete(plan, packages):
    """Whether a .deb of each package, version by name, was downloaded for this plan."""
    try:
        there = set(os.listdir(folder(plan) + '/archives'))
    except FileNotFoundError:
        return False
    return all(any(replaced.file_name(n, v, a) in there for a in ([n.partition(':')[2]] if ':' in n else [apt.native_architecture(), 'all']))
               for n, v in packages.items())


def download(command, pins, opts):
    """Fetch what an upgrade needs and is not here yet. What the mirror has no longer is plan drift."""
    with apt.pinned(pins) as (pinning, fds):
        done = run(['apt-get', '-y', '-d'] + apt.PLAIN + LOCKLESS + TIMEOUTS + opts + pinning + command, timeout=3600, pass_fds=fds)
    if done.returncode == 0:
        return
    reason = apt.first_error(done.stderr)
    if re.search(r'\b404\b|\b410\b|File not found|size mismatch|Hash Sum mismatch', done.stderr, re.I):
        raise Failure('drift', 'plan drift: a planned version cannot be had any more: ' + reason, tail(done.stderr))
    raise Failure('download', 'what the upgrade needs cannot be downloaded: ' + reason, tail(done.stderr))


def archives(opts):
    """What the lists are of: {'Origin Label Suite Version': hash of the Release}. Equal ones are of the same moment."""
    import hashlib
    where = LISTS
    said = read_text(opts[opts.index('-c') + 1]) if '-c' in opts else run(['apt-config', 'dump'] + opts).stdout
    for place in re.findall(r'^Dir::State::lists "([^"]*)"', said, re.M):
        if place.startswith('/'):       # else it is as apt has it, below /var/lib/apt
            where = place
    found = {}
    for path in sorted(glob.glob(os.path.join(where, '*Release'))):
        text = read_text(path)
        head = dict(re.findall(r'^(Origin|Label|Suite|Version): *(.+)$', text, re.M))
        key = ' '.join(head.get(k, '-') for k in ('Origin', 'Label', 'Suite', 'Version'))
        found[key] = hashlib.sha256(text.encode()).hexdigest()
    return found


def codename():
    """What Debian this is, such as bookworm; '' if it does not say."""
    return (re.findall(r'^VERSION_CODENAME="?([\w.+-]*)', read_text('/etc/os-release'), re.M) or [''])[0]


def kind():
    """Hosts of one kind share versions: suite and architecture."""
    return codename() + ' ' + apt.native_architecture()
