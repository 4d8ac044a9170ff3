"""One action on this host and its answer, whoever asks: Ansible's module, or the installed program."""
from .homelab_system import Failure

# What only one action needs is loaded with it.


def answer(p, check):
    """What the task returns, in the form that Ansible has for it: failed and msg where it failed, warnings. p is checked
    arguments by homelab_call; check is whether nothing may be changed."""
    try:
        done = act(p, check)
    except Failure as e:
        return {'failed': True, 'msg': e.reason, 'failure': e.data()}
    except OSError as e:
        return {'failed': True, 'msg': '%s: %s' % (e.filename or p['action'], e.strerror or e)}
    failure = (done.get('result') or {}).get('failure')
    if failure:
        done.update(failed=True, msg=failure['reason'], failure=failure)
    return done


def act(p, check):
    """Carry out the action."""
    if p['action'] == 'doctor':
        from .homelab_doctor import doctor
        return {'homelab_doctor': doctor(p['policy'])}
    from .homelab_plan import look, plan
    from .homelab_rollback import preview
    from .homelab_unit import begun, prepare, settle
    if p['action'] == 'look':
        return {'result': look(p['run']), 'begun': begun(p['run'])}
    if p['action'] == 'plan' and p['rollback']:
        return {'result': preview(p['rollback'], p['run'])}
    if p['action'] == 'plan':
        result = plan(p['policy'], p['run'], p['detailed'], p['plan'])
        return {'changed': check and bool(result['packages']), 'result': result}
    if check:
        return {'skipped': True, 'msg': 'not in check mode'}
    if p['action'] == 'prepare':
        return prepare(p['run'], p['policy'], p['wait'], p['plan'])
    if p['action'] == 'upgrade':
        return patch(p)
    if p['action'] == 'settle':
        return {'result': settle(p['run'], p['wait'])}
    return recorded(p, p['success'], p['held'])


def patch(p):
    """The upgrade: with look a host on hold is left alone, with record what nothing follows is recorded as well."""
    from .homelab_plan import look
    from .homelab_unit import upgrade
    seen = look(p['run']) if p['look'] else None
    if seen and seen['hold']:
        done = {'state': 'done', 'changed': False, 'restarted': False, 'result': seen}
        return dict(done, **recorded(p, False, held=True), recorded=True) if p['record'] else done
    done = upgrade(p['run'], p['policy'], p['wait'], p['plan'], p['rollback'])
    if p['record'] and uneventful(done):
        done.update(recorded(p, True), recorded=True)       # changed is that of the record: nothing else was
    return done


def uneventful(done):
    """Whether an upgrade has come to an end that nothing follows: then it is recorded with no question more. What has changed
    is recorded when it was published, and not before."""
    result = done.get('result') or {}
    return (done['state'] == 'done' and not done.get('changed') and not done.get('restarted') and not result['failure']
            and not result['packages'] and not result['reattached'] and (not result['reboot_required'] or result['reboot_futile']))


def recorded(p, success, held=False):
    """Record the result of a run."""
    from .homelab_unit import record
    changed, warnings = record(p['run'], p['policy'], success, held)
    return dict({'changed': changed}, **({'warnings': warnings} if warnings else {}))
