"""What can be foreseen of an upgrade beside versions: how much is downloaded, which questions and restarts it brings.

What cannot be known before is left out, or said to be unknown.
"""
import collections
import os
import re

from . import homelab_apt as apt
from . import homelab_freeze as freeze
from . import homelab_reboot as reboot
from .homelab_call import OURS
from .homelab_system import caller, read_text, run

INFO = '/var/lib/dpkg/info'
SERVICE = re.compile(r'/([^/\n]+\.service)$', re.M)


def tell(result, options):
    """Put into a result, which has its packages, all that is foreseen of them."""
    source(result, options)
    coming = [p for p in result['packages'] if p['to']]
    result['conffile_prompts'] = conffiles([p['name'] for p in coming if p['from']])
    result['services_forecast'] = services([p['name'] for p in coming if p['from']])


def source(result, options):
    """Put into a result, which has its packages, where they are from: what versions of a run are compared by."""
    archived([p for p in result['packages'] if p['to']], options)
    result['suite'], result['architecture'] = freeze.kind().split(' ')
    result['archives'] = freeze.archives(options)


def archived(packages, options):
    """Put into packages what the lists say of them: size of the download, source package and its version."""
    asked = ['%s=%s' % (p['name'], p['to']) for p in packages]
    said = parse_show(run(['apt-cache', 'show'] + options + asked).stdout) if asked else {}
    for p in packages:
        p.update(said.get((p['name'].partition(':')[0], p['to']), {'size': -1, 'source': '', 'source_version': ''}))


def parse_show(text):
    """Of `apt-cache show`: {(package, version): {size, source, source_version}}; -1 is a size that it does not say."""
    found = {}
    for stanza in re.split(r'\n\n+', text):
        fields = dict(re.findall(r'^(Package|Version|Source|Size): *(.*)$', stanza, re.M))
        if 'Package' not in fields or 'Version' not in fields:
            continue
        m = re.match(r'^(\S+)(?: \((.+)\))?$', fields.get('Source', ''))
        size = fields.get('Size', '')
        found.setdefault((fields['Package'], fields['Version']), {
            'size': int(size) if size.isdigit() else -1, 'source': m.group(1) if m else fields['Package'],
            'source_version': (m and m.group(2)) or re.sub(r'\+b\d+$', '', fields['Version'])})
    return found


def conffiles(names):
    """Conffiles that somebody has changed, of packages that will be upgraded: [{package, path, expected}].

    Whether the new version brings another one as well is only known from the package itself, so expected is unknown. The
    operator's own file stays in any case; what would be asked is which one to keep.
    """
    if not names:
        return []
    said = run(['dpkg-query', '-W', '-f', '=${binary:Package}\n${Conffiles}\n'] + names).stdout
    found, package = [], ''
    for line in said.splitlines():
        if line.startswith('='):
            package = line[1:].partition(':')[0] if line[1:].partition(':')[2] == apt.native_architecture() else line[1:]
        fields = line.split()
        if line.startswith(' ') and len(fields) == 2 and os.path.isfile(fields[0]) and md5(fields[0]) != fields[1]:
            found.append({'package': package, 'path': fields[0], 'expected': 'unknown'})
    return found


def md5(path):
    import hashlib
    try:
        with open(path, 'rb') as f:
            return hashlib.new('md5', f.read(), usedforsecurity=False).hexdigest()
    except OSError:
        return ''


def services(names):
    """Services at work that use files of packages which will be upgraded: [{service, packages, restarted}].

    needrestart would find them after the upgrade. restarted is false for one that only a reboot replaces.
    """
    files = {}
    for name in names:
        for path in (INFO + '/%s.list' % name, INFO + '/%s:%s.list' % (name, apt.native_architecture())):
            for line in read_text(path).splitlines():
                files[merged(line)] = name
    using, mine = collections.defaultdict(set), caller()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            unit = SERVICE.search(read_text('/proc/%s/cgroup' % pid))
            if not unit or unit.group(1) in OURS:
                continue
            loaded = {line.split(None, 5)[5] for line in read_text('/proc/%s/maps' % pid).splitlines() if '/' in line}
        except (OSError, IndexError):
            continue        # it has ended
        using[unit.group(1)].update(files[p] for p in map(merged, loaded) if p in files)
    return [{'service': s, 'packages': sorted(p), 'restarted': not reboot.spared(s, mine)}
            for s, p in sorted(using.items()) if p]


def merged(path):
    """A path as it is where /lib and /usr/lib are one."""
    return path[4:] if path.startswith(('/usr/lib', '/usr/bin', '/usr/sbin')) else path
