"""patch.prom: the one writer of these families on a host."""
import os
import time

from . import homelab_plan as plan
from . import homelab_reboot as reboot
from .homelab_system import METRICS, hold, locked, read_json, write_durable, write_json

FAMILIES = (
    ('homelab_patch_last_success_unixtime', 'Unix time of the last successful patch run, 0 if there was none.'),
    ('homelab_patch_reboot_required', 'Whether the host needs a reboot (1) or not (0).'),
    ('homelab_patch_packages_upgraded', 'Packages installed or upgraded by the last run.'),
    ('homelab_patch_packages_pending', 'Packages that wait for an upgrade, by kind.'),
    ('homelab_patch_held', 'Whether a maintenance hold stands on the host (1) or not (0).'),
)


def encode(values):
    """The text format of Prometheus; a value is a number, or a dict of numbers by kind."""
    lines = []
    for name, text in FAMILIES:
        lines += ['# HELP %s %s' % (name, text), '# TYPE %s gauge' % name]
        value = values[name[len('homelab_patch_'):]]
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


def publish(textfile_dir, upgraded=None, success=False, pending=None, reboot_required=None):
    """Write patch.prom under the lock. What is not given is found out now, or kept from the last time.

    Returns a warning, '' if all is well.
    """
    if pending is None:
        pending = plan.pending()
    if reboot_required is None:
        reboot_required = bool(reboot.state()[1])
    with locked():
        kept = read_json(METRICS) or {}
        kept = {'last_success': int(kept.get('last_success', 0)), 'upgraded': int(kept.get('upgraded', 0))}
        if success:
            kept['last_success'] = int(time.time())
        if upgraded is not None:
            kept['upgraded'] = upgraded
        write_json(METRICS, kept)
        warning = missing(textfile_dir)
        if not warning:
            write_durable(os.path.join(textfile_dir, 'patch.prom'), encode({
                'last_success_unixtime': kept['last_success'], 'packages_upgraded': kept['upgraded'],
                'reboot_required': reboot_required, 'packages_pending': pending,
                'held': hold() is not None}).encode(), 0o644)
    return warning
