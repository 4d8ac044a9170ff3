"""patch.prom: the one writer of these families on a host.

The role's last task calls it, and so does the program, for the units of boot and of every hour or for a person.
"""
import glob
import os
import time

from . import homelab_plan as plan
from . import homelab_reboot as reboot
from .homelab_apt import PRIVATE
from .homelab_system import METRICS, hold, locked, read_json, remove, write_durable, write_json

FAMILIES = (
    ('homelab_patch_last_success_unixtime', 'Unix time of the last successful patch run, 0 if there was none.'),
    ('homelab_patch_reboot_required', 'Whether the host needs a reboot (1) or not (0).'),
    ('homelab_patch_packages_upgraded', 'Packages installed or upgraded by the last run.'),
    ('homelab_patch_packages_pending', 'Packages that wait for an upgrade, by kind.'),
    ('homelab_patch_held', 'Whether a maintenance hold stands on the host (1) or not (0).'),
)


def encode(values):
    """The text format of Prometheus; a value is a number, a dict of numbers by kind, or None for what is not known."""
    lines = []
    for name, text in FAMILIES:
        value = values[name[len('homelab_patch_'):]]
        if value is None:
            continue
        lines += ['# HELP %s %s' % (name, text), '# TYPE %s gauge' % name]
        if isinstance(value, dict):
            lines += ['%s{kind="%s"} %d' % (name, kind, value[kind]) for kind in sorted(value)]
        else:
            lines.append('%s %d' % (name, value))
    return '\n'.join(lines) + '\n'


def missing(textfile_dir):
    """A warning when the folder for textfiles is not there (it belongs to node_exporter: never made here)."""
    if os.path.isdir(textfile_dir):
        return ''
    return 'no metrics of this host: the folder %s does not exist' % textfile_dir


def publish(textfile_dir, upgraded=None, success=False, pending=None, reboot_required=None, caller=(), options=PRIVATE):
    """Write patch.prom under the lock. What is not given is found out now, or kept from the last time.

    What cannot be found out, such as what waits while apt is at work, stays as it was last seen; it is never taken
    for 0. caller, options: see reboot.state and apt.simulate. Returns a warning, '' if all is well.
    """
    looked = time.time()
    if pending is None:
        pending = plan.pending(options)
    if reboot_required is None:
        reboot_required = reboot.required(caller)
    with locked():
        kept = read_json(METRICS) or {}
        seen = kept.get('seen') or {}
        # Looking takes seconds, and is done without the lock. Whoever began to look last has the newest to say. (A time
        # to come is that of a clock which was put back since.)
        newer = looked < seen.get('at', 0) <= time.time()
        if newer or pending is None:
            pending = seen.get('pending')
        if newer or reboot_required is None:
            reboot_required = seen.get('reboot_required')
        kept = {'last_success': int(kept.get('last_success', 0)), 'upgraded': int(kept.get('upgraded', 0)),
                'seen': {'at': seen['at'] if newer else looked, 'pending': pending, 'reboot_required': reboot_required}}
        if success:
            kept['last_success'] = int(time.time())
        if upgraded is not None:
            kept['upgraded'] = upgraded
        write_json(METRICS, kept)
        warning = missing(textfile_dir)
        if not warning:
            path = os.path.join(textfile_dir, 'patch.prom')
            for left in glob.glob(glob.escape(path) + '.*.new'):    # of a writer that was killed: we have the lock
                remove(left)
            write_durable(path, encode({
                'last_success_unixtime': kept['last_success'], 'packages_upgraded': kept['upgraded'],
                'reboot_required': reboot_required, 'packages_pending': pending,
                'held': hold() is not None}).encode(), 0o644)
    return warning
