"""The lease: while it is good, ansible-pull leaves this host alone; its unit reads it before it does anything.

Nobody holds a lock. Patching first writes the lease and then looks whether the pull is at work; the pull is at work, for
systemd, before it reads the lease. Whichever comes first, one of the two sees the other.
"""
import time

from .homelab_call import PULL
from .homelab_system import LEASE, Failure, boot_id, read_json, remove, write_json

# Seconds. A watch renews it every minute; it outlasts a link that is lost, and a restart of the host until it is judged.
# Whoever dies and never comes back keeps the host from being converged for no longer than this.
LIFE = 3600


def take(run_id, restart=False):
    """Take the lease for a run, from whomever has it, or renew it. restart: it is to outlast a restart of the host.

    Returns the Unix time since when the run has it without a gap.
    """
    now, boot = int(time.time()), '' if restart else boot_id()
    held = read_json(LEASE)
    try:
        ours = held['run'] == run_id and now < held['expires'] and held['boot_id'] in ('', boot_id())
        since = int(held['since']) if ours else now
        fresh = ours and held['boot_id'] == boot and now + LIFE - 60 < held['expires'] <= now + LIFE
    except (KeyError, TypeError, ValueError):       # none, or none that can be understood
        since, fresh = now, False
    if not fresh:
        write_json(LEASE, {'version': 1, 'run': run_id, 'boot_id': boot, 'expires': now + LIFE, 'since': since})
    return since


def limit_pull(run_id, since, timeout):
    """Of a pull that is at work, and was when the lease was in hand: Failure when that has lasted for too long."""
    if time.time() - since > timeout:
        raise Failure('pull', '%s is still at work on the host after %d s: let it finish, or stop it; nothing was changed for '
                      'run %s' % (PULL, timeout, run_id))


def give_up(run_id):
    """Give the lease up, unless another run has it."""
    if (read_json(LEASE) or {}).get('run') == run_id:
        remove(LEASE)
