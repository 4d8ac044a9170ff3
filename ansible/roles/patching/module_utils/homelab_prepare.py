"""The transient unit that prepares this host for a run: it plans the upgrade and downloads it, and changes no package."""
import time

from . import homelab_freeze as freeze
from . import homelab_forecast as forecast
from . import homelab_lists as lists
from . import homelab_plan as plan
from .homelab_system import PREPARE, PREPARED, Failure, read_json, write_json
from .homelab_upgrade import wait_for_locks


def prepare():
    """Carry out the request in the state directory. Its result is durable, whatever happens."""
    request = read_json(PREPARE)
    result = plan.look(request['run'])
    result['check'] = True
    try:
        steps(request, result)
    except Failure as e:
        result['failure'] = e.data()
    except OSError as e:
        result['failure'] = Failure('prepare', '%s: %s' % (e.filename or 'prepare', e.strerror or e)).data()
    except Exception as e:      # a bug must still leave a result
        import traceback
        result['failure'] = Failure('internal', 'homelab-patch failed: %s' % e, traceback.format_exc()).data()
    write_json(PREPARED, {'attempt': request['attempt'], 'result': result})


def steps(request, result):
    """Refresh, keep, plan and download. What a plan forecasts besides is asked by nobody here."""
    policy, given = request['policy'], request['plan']
    wait_for_locks(policy['lock_timeout'])
    _, warnings = lists.renew(policy['lists_max_age'])
    result['warnings'] += warnings
    freeze.make(given['id'])
    options = plan.apt.PRIVATE + freeze.options(given['id'])
    found = plan.would_change(policy, result, options, given if given['packages'] is not None else None)
    coming = [p['name'] for p in result['packages'] if p['to']]
    short = plan.short_of_space(policy, coming)
    if short:
        raise Failure('space', '; '.join(short))
    forecast.source(result, options)
    if found['install']:
        freeze.download(found['command'], found['pins'], freeze.options(given['id']))
    result['lists_age_seconds'] = max(0, int(time.time()) - freeze.made(given['id']))
