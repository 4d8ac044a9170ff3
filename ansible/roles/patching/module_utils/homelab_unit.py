"""The transient unit that patches this host, seen from outside: begin it, watch it, judge it, publish it."""
import os
import time

from . import homelab_apt, homelab_lease, homelab_metrics, homelab_plan, homelab_reboot, homelab_timer
from .homelab_call import PREPARE_UNIT, PROGRAM, PULL, UNIT
from .homelab_program import install
from .homelab_system import (APT_STATUS, BEFORE, PREPARE, PREPARED, PROGRESS, REQUEST, RESULT, Failure, at_work, boot_id,
                             caller, empty_result, failed_units, finished_starting, has_systemd, locked, read_json, read_text,
                             remove, run, unit_properties, write_json)

# Seconds between two looks at the files of a unit at work, and between two questions to systemd about it.
LOOK, ASK = 0.1, 2


def start(run_id, policy, plan=None, back=None):
    """Start the unit for this run; whether that changed the program. Called with the lock held: nobody else starts one.

    The result of before goes: what it had changed is still in before.json, unless it was published.
    """
    changed = install()
    remove(PROGRESS)
    remove(RESULT)
    write_json(REQUEST, {'run': run_id, 'policy': policy, 'plan': plan, 'rollback': back, 'caller': caller()})
    # nothing that happens to the program may cut dpkg: a stop tells it alone, and it lets dpkg finish
    transient(UNIT, 'homelab-patch: upgrade of this host', 'apply',
              ('--property=KillMode=process', '--property=TimeoutStopSec=1800', '--property=OOMPolicy=continue'))
    return changed


def prepare(run_id, policy, wait, plan):
    """Have the host plan and download the upgrade of a run, waiting up to wait seconds; {'state': 'running' or 'done', ...}.

    May be called again and again with the same plan['attempt']: it is done once. An upgrade that is still at work is waited
    for. No package is changed. A host on hold is left alone, and its result says so.
    """
    seen = homelab_plan.look(run_id)
    if seen['hold']:
        return {'state': 'done', 'result': seen}
    if not has_systemd():
        raise Failure('start', 'systemd does not run on this host: an upgrade would have nobody to outlive us')
    deadline, ask = time.monotonic() + wait, 0
    while True:
        with locked():
            result = prepared(plan['attempt'])
            if not result and time.monotonic() >= ask:
                active, ask = at_work(UNIT, PREPARE_UNIT), time.monotonic() + ASK
                result = prepared(plan['attempt'])      # it may have ended since we looked
                if not result and not active:
                    if (read_json(PREPARE) or {}).get('attempt') == plan['attempt']:
                        raise Failure('prepare', 'what prepares the host ended without a result: look at journalctl -u '
                                      + PREPARE_UNIT)
                    install()
                    write_json(PREPARE, {'run': run_id, 'attempt': plan['attempt'], 'policy': policy, 'plan': plan})
                    transient(PREPARE_UNIT, 'homelab-patch: plan and download of this host', 'prepare', ())
        if result:
            return {'state': 'done', 'result': result}
        if time.monotonic() >= deadline:
            return {'state': 'running', 'msg': 'planning and downloading'}
        time.sleep(LOOK)


def prepared(attempt):
    """The result of the unit that prepares, which it writes last; None if this attempt has none yet."""
    report = read_json(PREPARED) or {}
    return report['result'] if report.get('attempt') == attempt else None


def transient(unit, description, command, properties):
    """Start the program as a unit that outlives us."""
    argv = ['systemd-run', '--quiet', '--no-ask-password', '--unit=' + unit, '--description=' + description,
            '--property=Type=exec', '--property=SyslogIdentifier=' + unit.partition('.')[0], *properties,
            '/usr/bin/python3', '-IS', PROGRAM, command]
    done = run(argv, timeout=120)
    if done.returncode != 0:        # the one of before has failed, and systemd keeps it to be looked at
        run(['systemctl', 'reset-failed', unit], timeout=60)
        done = run(argv, timeout=120)
    if done.returncode != 0:
        raise Failure('start', 'the upgrade could not be started: %s' % (done.stderr.strip() or 'no reason given'))


def upgrade(run_id, policy, wait, plan=None, back=None):
    """Have the host upgraded once for this run, waiting up to wait seconds for its end. With back, a run is undone instead.

    May be called again and again with the same run, after a lost link or by an orchestrator that was cut short as well:
    the unit is started once a run. A unit of another run that is still at work is waited for first, and so is an
    ansible-pull; a new one does not begin before record, or the end of the lease.
    Returns {'state': 'running' or 'done', ...}; restarted, if the host has booted since its upgrade and was not judged.
    """
    if not has_systemd():
        raise Failure('start', 'systemd does not run on this host: an upgrade would have nobody to outlive us')
    deadline, changed, ours, pulling, ask = time.monotonic() + wait, False, False, False, 0
    while True:
        with locked():                      # what is seen still holds when the unit is started for it
            # systemd is asked before the result is read: a unit writes it, then ends. And not each time: that costs the host
            # a hundred times what it costs to look at a file.
            asked = time.monotonic() >= ask
            since = homelab_lease.take(run_id)
            if asked:
                active, ask, pulling = at_work(UNIT, PREPARE_UNIT, PULL), time.monotonic() + ASK, False
            request, report = read_json(REQUEST) or {}, read_json(RESULT) or {}
            if ours and request.get('run') != run_id:
                # whoever started us is gone, and a later run is at work: starting ours again would take its result away
                raise Failure('start', 'run %s has taken over on this host' % request.get('run'))
            ours = ours or request.get('run') == run_id
            if report.get('run') == run_id:
                homelab_lease.take(run_id, restart=True)    # which may come now, by policy
                return {'state': 'done', 'changed': changed or report['changed'], 'result': report['result'],
                        'restarted': report['boot_id'] != boot_id() and not report['result']['rebooted']}
            if asked and UNIT not in active:
                if request.get('run') == run_id and not report:
                    return {'state': 'done', 'changed': True, 'result': lost(run_id)}
                pulling = PULL in active
                if pulling:
                    homelab_lease.limit_pull(run_id, since, policy['lock_timeout'])
                if not pulling and PREPARE_UNIT not in active:      # it may be at work still, after a lost link
                    changed, ask = start(run_id, policy, plan, back), time.monotonic() + ASK
        if time.monotonic() >= deadline:
            if pulling:
                return {'state': 'running', 'changed': changed, 'msg': 'waiting for ansible-pull, which is at work on the host'}
            return dict(progress(request.get('run'), run_id), state='running', changed=changed)
        time.sleep(LOOK)


def begun(run_id):
    """What was begun on this host under this id before: 'upgrade', 'idle' (see Upgrade.steps), or '' for nothing."""
    request = read_json(REQUEST) or {}
    if not run_id or request.get('run') != run_id:
        return ''
    return 'idle' if request.get('policy', {}).get('idle') else 'upgrade'


def progress(at_work, run_id):
    """How far the unit is: msg in words, and progress, for who draws it, with the phase and the packages done of total."""
    seen = read_json(PROGRESS) or {}
    phase, total, done = seen.get('phase') or 'just started', seen.get('total') or 0, 0
    words = 'still running, %s' % phase
    if total:
        done = len({line.split(':')[1] for line in read_text(APT_STATUS).splitlines()
                    if line.startswith('pmstatus:') and ':Installed ' in line})
        words += ', %d of %d packages' % (done, total)
    if at_work != run_id:
        words += ' (begun by run %s)' % at_work
    return {'msg': words, 'progress': {'phase': phase, 'done': done, 'total': total}}


def lost(run_id):
    """The result of a unit that ended without one: what it had changed, and how it died."""
    how = unit_properties('Result').get('Result', 'unknown')
    words = {'oom-kill': 'the host ran out of memory', 'signal': 'it was killed', 'timeout': 'it was killed',
             'success': 'the host was switched off or restarted'}.get(how, 'its unit says ' + how)
    result, kept = empty_result(run_id), read_json(BEFORE)
    if kept:
        result['packages'] = homelab_apt.changes(kept['packages'], homelab_apt.installed(), set(kept['security']))
        result['failed_units'] = {'before': kept['failed_units'], 'after': failed_units()}
    phase = (read_json(PROGRESS) or {}).get('phase', 'start')
    result['dpkg_audit'] = homelab_apt.audit()
    homelab_reboot.judge(result, *homelab_reboot.state())
    result['failure'] = Failure(phase, 'the upgrade ended without a result: %s; the next run repairs and goes on'
                                % words).data()
    write_json(RESULT, {'run': run_id, 'published': False, 'boot_id': boot_id(), 'changed': True,
                        'pending': homelab_plan.pending(), 'result': result})
    return result


def settle(run_id, wait):
    """Judge the host after its reboot, waiting up to wait seconds until it has finished starting."""
    report = read_json(RESULT) or {}
    if report.get('run') != run_id:
        raise Failure('reboot', 'the host has come back without the result of its upgrade')
    result = report['result']
    if result['rebooted']:      # asked twice, the answer is the same
        return result
    deadline = time.monotonic() + wait
    while boot_id() == report['boot_id']:       # still on its way down; that ends us, and we are asked again
        if time.monotonic() >= deadline:
            raise Failure('reboot', 'the host did not restart: it is still the same boot')
        time.sleep(0.5)
    state = finished_starting(wait)
    units = failed_units()
    kernel, reasons = homelab_reboot.state()
    result['warnings'] += ['reboot did not help: ' + r for r in reasons if r in result['reboot_reasons']]
    homelab_reboot.note(reasons)
    fresh = sorted(set(units) - set(result['failed_units']['before']))
    result['failed_units']['after'] = units
    result.update(rebooted=True, kernel=kernel, reboot_reasons=reasons, reboot_required=bool(reasons),
                  reboot_futile=bool(reasons), failure=None)
    if fresh:
        result['failure'] = Failure('reboot', 'failed after the reboot: ' + ', '.join(fresh)).data()
    elif state not in ('running', 'degraded'):
        result['failure'] = Failure('reboot', 'the host is back, but after %d s systemd still says %s'
                                    % (wait, state or 'nothing')).data()
    result['warnings'] = list(dict.fromkeys(result['warnings']))
    write_json(RESULT, dict(report, result=result))
    return result


def record(run_id, policy, success, held=False):
    """Write patch.prom, and see to it that the host does so by itself from now on; note that this run's result was
    published, and let ansible-pull at the host again. Returns (whether units of the host were changed, warnings).

    Of a run that began no upgrade here, patch.prom alone is written. So it is with held, where what was published is that the host
    is on hold: an upgrade that this run began before has not been published by that.
    """
    try:
        return publish(run_id if not held else '', policy, success)
    finally:
        homelab_lease.give_up(run_id)


def publish(run_id, policy, success):
    """What record does under the lease."""
    report = read_json(RESULT) or {}
    if report.get('run') != run_id:
        return False, list(filter(None, [homelab_metrics.publish(policy['textfile_dir'])]))
    upgraded = None if report['result'].get('rollback') else sum(1 for p in report['result']['packages'] if p['to'])
    warning = homelab_metrics.publish(policy['textfile_dir'], upgraded, success, report['pending'],
                                      report['result']['reboot_required'])
    with locked():
        if read_json(RESULT) == report:     # else another run has begun meanwhile: all of this is its own now
            write_json(RESULT, dict(report, published=True))
            remove(BEFORE)
    changed, problem = homelab_timer.install(policy['textfile_dir'])
    return changed, list(filter(None, [warning, problem]))
