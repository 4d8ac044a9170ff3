"""Whether the host needs a reboot, and why."""
import os
import re

from .homelab_apt import installed
from .homelab_call import OURS
from .homelab_system import FUTILE, boot_id, read_json, read_text, remove, run, write_json

KERNEL_PACKAGE = re.compile(r'^(?:linux-image|pve-kernel|proxmox-kernel)-(\d.*?)(?:-unsigned|-signed)?$')
# 6.1.0-40-amd64, 6.12.48+deb13-cloud-amd64, 6.8.12-4-pve: a version and a flavour
RELEASE = re.compile(r'^(\d+\.[^-]+(?:-\d[^-]*)?)-([a-z].*)$')
# "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)": the package version of the running kernel
BUILD = re.compile(r'\bDebian (\d\S*)')
# A restart of these cuts guests, sessions, disks or the link, or has the watchdog reset the host. needrestart spares
# some of them only when asked itself. ssh is not among them: it leaves its sessions alone.
NEVER_RESTART = re.compile(
    r'^(docker|containerd|dbus|systemd-logind|systemd-networkd|pve|qemu|qmeventd|ceph|libvirt|virt\w+d\b|lxc|incus|'
    r'corosync|pacemaker|spiceproxy|watchdog|user@|getty@|serial-getty@|session-|ssh@|sshd@|gdm|lightdm|sddm|xdm|'
    r'display-manager|iscsid|open-iscsi|multipathd|networking|ifup@|NetworkManager|wpa_supplicant|wg-quick@|openvpn|'
    r'tailscaled|homelab-patch)')
REQUIRED = '/run/reboot-required'
SETTINGS = '/etc/needrestart/needrestart.conf'
# They are Perl, and needrestart reads them so. Where two expressions name a service, one no is a no.
OVERRIDDEN = """
our %nrconf = (override_rc => {});
my $file = shift;
open(my $in, '<', $file) or die;
local $/;
eval(<$in>);
die if $@;
my %no = %{$nrconf{override_rc}};
foreach my $name (@ARGV) {
    print "$name\\n" if grep { !$no{$_} && $name =~ /$_/ } keys %no;
}
"""
# Programs that stay in old code until a reboot when one of these is upgraded.
FORECAST = re.compile(r'^(dbus(-daemon|-broker)?|libc6|libsystemd0|systemd)$')


def newer(a, b):
    """Whether version a is newer than b, as dpkg compares."""
    return run(['dpkg', '--compare-versions', a, 'gt', b]).returncode == 0


def kernel(packages, release, build, is_newer=newer):
    """{'running', 'installed', 'state'} from installed packages, `uname -r` and `uname -v`.

    state: 'newer' when a kernel of the running one's flavour is installed that is newer than it; 'current';
    'unknown' when the running kernel belongs to no installed package (a guest, a kernel of one's own).
    """
    kernels = {}
    for name, version in packages.items():
        m = KERNEL_PACKAGE.match(name.partition(':')[0])        # of another architecture than dpkg's, as under i386
        if m:
            kernels[m.group(1)] = version
    running = RELEASE.match(release)
    if release not in kernels or not running:
        return {'running': release, 'installed': '', 'state': 'unknown'}
    best = release
    for other in kernels:
        m = RELEASE.match(other)
        if m and other != best and m.group(2) == running.group(2) and is_newer(other, best):
            best = other
    state = 'newer' if best != release else 'current'
    m = BUILD.search(build)
    if state == 'current' and m and is_newer(kernels[release], m.group(1)):
        state = 'newer'        # rebuilt under the same name
    return {'running': release, 'installed': best, 'state': state}


def parse_needrestart(text):
    """Of `needrestart -b`: {'kernel': state number or 0, 'services': [names]}."""
    found = {'kernel': 0, 'services': []}
    for line in text.splitlines():
        key, _, value = line.partition(': ')
        if key == 'NEEDRESTART-KSTA' and value.strip().isdigit():
            found['kernel'] = int(value)
        elif key == 'NEEDRESTART-SVC' and value.strip() not in OURS:
            found['services'].append(value.strip())
    return found


def needrestart():
    """What parse_needrestart reads, and the problem: why that is not all there is to see, ''. None installed sees all it can.

    It is not asked in the mode that its settings may name: `e` prints no service.
    """
    done = run(['needrestart', '-b', '-m', 'a', '-r', 'l', '-k', '-l'], timeout=300)
    problem = '' if done.returncode in (0, 127) else (
        'needrestart failed, and what runs old code is not known: %s: look at `needrestart -b` on the host'
        % (done.stderr.strip().split('\n')[0] or 'exit code %d' % done.returncode))
    return dict(parse_needrestart(done.stdout), problem=problem)


def overridden(services):
    """Those of these services that needrestart's own settings keep from being restarted: `-b` names them all the same. All of
    them, where that cannot be told."""
    if not services or not os.path.exists(SETTINGS):
        return []
    done = run(['perl', '-e', OVERRIDDEN, SETTINGS] + list(services), timeout=60)
    return done.stdout.split() if done.returncode == 0 else list(services)


def reboot_required_file():
    """Reasons from /run/reboot-required, which Debian's packages write."""
    if not os.path.lexists(REQUIRED):       # a hook of unattended-upgrades makes it empty
        return []
    packages = sorted(set(read_text(REQUIRED + '.pkgs').split()))
    return ['asked for by ' + p for p in packages] or [REQUIRED]


def spared(name, caller=()):
    """Whether a service must not be restarted. caller: services that the run itself was started in."""
    return name in caller or bool(NEVER_RESTART.match(name))


def state(found=None, caller=()):
    """(kernel, reasons) now. found: what needrestart said, if it was asked already. caller: see spared."""
    found = needrestart() if found is None else found
    k = kernel(installed(), run(['uname', '-r']).stdout.strip(), run(['uname', '-v']).stdout)
    reasons = reboot_required_file()
    if k['state'] == 'newer':
        reasons.append('kernel %s is installed, %s is running' % (k['installed'], k['running']))
    elif k['state'] == 'current' and found['kernel'] in (2, 3):
        reasons.append('needrestart expects another kernel than %s' % k['running'])
    reasons += ['%s runs old code and is only replaced by a reboot' % s
                for s in found['services'] if spared(s, caller)]
    return k, reasons


def required(caller=()):
    """Whether the host needs a reboot now; None where nothing says so, but needrestart failed."""
    found = needrestart()
    return True if state(found, caller)[1] else None if found['problem'] else False


def note(reasons):
    """Remember, right after a reboot of ours, the reasons that are still there: another one would not help."""
    if reasons:
        write_json(FUTILE, {'boot_id': boot_id(), 'dpkg': dpkg_time(), 'reasons': reasons})
    else:
        remove(FUTILE)


def futile(reasons):
    """Whether a reboot of ours has been tried against all of these reasons, and nothing has changed since.

    Reasons are words without versions: once dpkg has changed a package, the same words may be a new reason.
    """
    tried = read_json(FUTILE) or {}
    return (bool(reasons) and tried.get('boot_id') == boot_id() and tried.get('dpkg') == dpkg_time()
            and set(reasons) <= set(tried['reasons']))


def dpkg_time():
    """When dpkg last changed a package, as a number to compare; 0 if unknown."""
    try:
        return os.stat('/var/lib/dpkg/status').st_mtime_ns
    except OSError:
        return 0


def judge(result, kernel, reasons):
    """Put into result whether the host needs a reboot, and whether one would help."""
    result.update(kernel=kernel, reboot_reasons=reasons, reboot_required=bool(reasons), reboot_futile=futile(reasons))
    if result['reboot_futile']:
        result['warnings'] += [w for w in ('reboot did not help: ' + r for r in reasons) if w not in result['warnings']]


def forecast(names):
    """Why a reboot is likely after these packages were upgraded; '' if it is not."""
    kernels = [n for n in names if KERNEL_PACKAGE.match(n)]
    deep = [n for n in names if FORECAST.match(n)]
    return ', '.join(['%s is a new kernel' % n for n in kernels] + ['%s is used by all of the system' % n for n in deep])
