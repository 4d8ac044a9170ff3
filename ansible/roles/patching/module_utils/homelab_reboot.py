"""Whether the host needs a reboot, and why."""
import re

from .homelab_apt import installed
from .homelab_system import UNIT, read_text, run

KERNEL_PACKAGE = re.compile(r'^(?:linux-image|pve-kernel|proxmox-kernel)-(\d.*?)(?:-unsigned|-signed)?$')
# 6.1.0-40-amd64, 6.12.48+deb13-cloud-amd64, 6.8.12-4-pve: a version and a flavour
RELEASE = re.compile(r'^(\d+\.[^-]+(?:-\d[^-]*)?)-([a-z].*)$')
# "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)": the package version of the running kernel
BUILD = re.compile(r'\bDebian (\d\S*)')
# A restart of these cuts guests, sessions or the link. needrestart spares some of them only when asked itself.
NEVER_RESTART = re.compile(
    r'^(docker|containerd|dbus|systemd-logind|pve|qemu|libvirt|virtlogd|virtlockd|lxc|corosync|spiceproxy|user@|'
    r'getty@|serial-getty@|session-|networking|ifup@|NetworkManager|wpa_supplicant|homelab-patch-orchestrate)')
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
        m = KERNEL_PACKAGE.match(name)
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
        elif key == 'NEEDRESTART-SVC' and value.strip() != UNIT:
            found['services'].append(value.strip())
    return found


def needrestart():
    return parse_needrestart(run(['needrestart', '-b', '-r', 'l'], timeout=300).stdout)


def reboot_required_file():
    """Reasons from /run/reboot-required, which Debian's packages write."""
    if not read_text('/run/reboot-required'):
        return []
    packages = sorted(set(read_text('/run/reboot-required.pkgs').split()))
    return ['asked for by ' + p for p in packages] or ['/run/reboot-required']


def state(found=None):
    """(kernel, reasons) now. found: what needrestart said, if it was asked already."""
    found = needrestart() if found is None else found
    k = kernel(installed(), run(['uname', '-r']).stdout.strip(), run(['uname', '-v']).stdout)
    reasons = reboot_required_file()
    if k['state'] == 'newer':
        reasons.append('kernel %s is installed, %s is running' % (k['installed'], k['running']))
    elif k['state'] == 'current' and found['kernel'] in (2, 3):
        reasons.append('needrestart expects another kernel than %s' % k['running'])
    reasons += ['%s runs old code and is only replaced by a reboot' % s
                for s in found['services'] if NEVER_RESTART.match(s)]
    return k, reasons


def forecast(names):
    """Why a reboot is likely after these packages were upgraded; '' if it is not."""
    kernels = [n for n in names if KERNEL_PACKAGE.match(n)]
    deep = [n for n in names if FORECAST.match(n)]
    return ', '.join(['%s is a new kernel' % n for n in kernels] + ['%s is used by all of the system' % n for n in deep])
