"""What `homelab-patch-orchestrate doctor` asks of a host: what a run would stumble over, in one look. Nothing is changed."""
import os
import time

from . import homelab_apt as apt
from . import homelab_metrics as metrics
from . import homelab_plan as plan
from .homelab_call import HEALTH, UNIT, read_health
from .homelab_system import Failure, has_systemd, run, unit_active
from .homelab_upgrade import lock_holder, process_name


def doctor(policy):
    """Facts about the host, version 1. One that cannot be found out is None, and `unknown` has why, by its name."""
    facts, unknown = {'version': 1, 'uid': os.geteuid(), 'time': time.time()}, {}
    for name, find in (('hold', lambda: plan.look('doctor')['hold']), ('space', lambda: plan.space(policy)), ('audit', apt.audit),
                       ('lock', lock), ('sources', sources), ('upgrade', lambda: upgrade(policy)), ('python_apt', python_apt),
                       ('unattended', lambda: plan.unattended(policy, apt.installed())), ('health', health),
                       ('upgrading', lambda: has_systemd() and unit_active(UNIT)), ('textfiles', lambda: metrics.missing(policy['textfile_dir']))):
        facts[name] = None
        try:
            facts[name] = find()
        except Failure as e:
            unknown[name] = e.reason
        except Exception as e:      # one that cannot be looked at hides none of the others
            unknown[name] = '%s: %s' % (type(e).__name__, e)
    facts['unknown'] = unknown
    return facts


def health():
    """What the gates between waves ask as well."""
    if not has_systemd():
        raise Failure('health', 'systemd does not run on this host')
    done = run(['sh', '-c', HEALTH], timeout=60)
    said, problem = read_health(done.returncode, done.stdout, done.stderr)
    if problem:
        raise Failure('health', problem)
    return said


def lock():
    """Who holds a lock of apt's or dpkg's, in words; '' for nobody."""
    path, pid = lock_holder()
    return '%s is held by %s' % (path, process_name(pid)) if path else ''


def sources():
    """How many files `apt-get update` would ask for, whether it ever did or not: 0 where there is no source."""
    done = run(['apt-get', 'update', '--print-uris'] + apt.PLAIN + apt.PRIVATE, timeout=60)
    if done.returncode != 0:
        raise Failure('sources', apt.first_error(done.stderr))
    return len(done.stdout.splitlines())


def upgrade(policy):
    """What an upgrade would install by the lists that are there: [{name, from, to}]. Raises Failure where apt cannot plan it."""
    found = plan.survey(policy, apt.installed())['install']
    return [{'name': n, 'from': p['from'], 'to': p['to']} for n, p in sorted(found.items())]


def python_apt():
    """Whether Ansible's own module apt finds what it needs: Debian's Python has it, whichever one runs this."""
    return run(['/usr/bin/python3', '-c', 'import apt'], timeout=60).returncode == 0
