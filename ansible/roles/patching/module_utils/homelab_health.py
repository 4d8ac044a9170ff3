"""Whether a host is well, for the gates between waves: looked at, never touched."""
from .homelab_system import OURS, Failure, has_systemd, run


def health():
    """What systemd says now, version 1: its state, and its failed units, ours left out, each with the Unix time since
    when (0: not known). What cannot be found out is a Failure: no answer is not a good one."""
    if not has_systemd():
        raise Failure('health', 'systemd does not run on this host')
    listed = ask('list-units', '--state=failed', '--plain', '--no-legend', '--full')
    names = sorted({line.split()[0] for line in listed.splitlines() if line.split()} - set(OURS))
    since = failed_since(names) if names else {}
    state = run(['systemctl', 'is-system-running'], timeout=30).stdout.strip()  # its exit code is not 0 for 'degraded'
    return {'version': 1, 'state': state, 'failed_units': [{'name': n, 'since': since.get(n, 0)} for n in names]}


def failed_since(names):
    """By unit, the Unix time of its latest change of state."""
    found = {}
    text = ask('show', '--timestamp=unix', '--property=Id,StateChangeTimestamp', '--', *names)
    for block in text.split('\n\n'):
        unit = dict(line.split('=', 1) for line in block.splitlines() if '=' in line)
        since = unit.get('StateChangeTimestamp', '')[1:]      # @1793534531
        if since.isdigit():
            found[unit.get('Id')] = int(since)
    return found


def ask(*argv):
    done = run(['systemctl', *argv], timeout=30)
    if done.returncode != 0:
        raise Failure('health', 'systemd does not answer: %s' % (done.stderr.strip() or 'exit code %d' % done.returncode))
    return done.stdout
