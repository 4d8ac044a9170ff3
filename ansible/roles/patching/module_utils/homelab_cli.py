"""The program as it is installed on a host: /usr/local/lib/homelab-patch/homelab-patch COMMAND."""
import json
import os
import sys

from .homelab_call import ANSWER, BEGUN, OTHER_VERSION
from .homelab_system import REQUEST, read_json

TEXTFILES = '/var/lib/prometheus/node-exporter'


def call(asked):
    """Answer what the role asks, one line; asked has version, arguments and check. Returns the exit code."""
    from . import VERSION       # of the zip's own making
    if asked['version'] != VERSION:
        return OTHER_VERSION
    from .homelab_act import answer     # it imports us
    print(BEGUN, file=sys.stderr, flush=True)
    print(ANSWER + json.dumps(answer(asked['arguments'], asked['check'])), flush=True)
    return 0


def main(argv):
    """Run one command; returns the exit code."""
    if argv == ['call']:        # asked several times a run: what the others need takes time to load
        return call(json.load(sys.stdin))
    import argparse
    from . import homelab_metrics as metrics
    from . import homelab_prepare as prepare
    from . import homelab_rollback as rollback
    from . import homelab_upgrade as upgrade
    from .homelab_apt import LIVE
    parser = argparse.ArgumentParser(prog='homelab-patch', description='Patches this host; begun by the role patching.')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('apply', help='carry out the request in the state directory (run by homelab-patch.service)')
    commands.add_parser('prepare', help='plan and download by the request in the state directory '
                        '(run by homelab-patch-prepare.service)')
    write = commands.add_parser('metrics', help='write patch.prom anew; keeps the time of the last success')
    write.add_argument('--textfile-dir', help='folder of patch.prom (default: that of the last run, or %s)' % TEXTFILES)
    commands.add_parser('call', help='carry out one action for the role patching, which asks on standard input')
    args = parser.parse_args(argv)
    if os.geteuid() != 0:
        print('homelab-patch: needs root', file=sys.stderr)
        return 1
    if args.command == 'apply':
        upgrade.apply(rollback.request(REQUEST))
        return 0
    if args.command == 'prepare':
        prepare.prepare()
        return 0
    request = read_json(REQUEST) or {}
    folder = args.textfile_dir or request.get('policy', {}).get('textfile_dir', TEXTFILES)
    try:
        warning = metrics.publish(folder, caller=request.get('caller', []), options=LIVE)
    except OSError as e:
        print('homelab-patch: patch.prom is not written: %s: %s' % (e.filename or folder, e.strerror or e), file=sys.stderr)
        return 1
    if warning:
        print('homelab-patch: ' + warning, file=sys.stderr)
    return 0
