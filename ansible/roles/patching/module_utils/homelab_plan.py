"""What would be done, read only: the survey that the upgrade acts on, and check mode's plan."""
import contextlib
import os
import re
import time

from . import homelab_apt as apt
from . import homelab_forecast as forecast
from . import homelab_freeze as freeze
from . import homelab_lists as lists
from . import homelab_reboot as reboot
from .homelab_system import Failure, empty_result, failed_units, has_systemd, hold, read_text, run

COMMANDS = {
    'security': ['upgrade', '--with-new-pkgs'],
    'security_only': ['upgrade', '--with-new-pkgs'],
    'dist': ['dist-upgrade'],
}
KERNEL_FILES = re.compile(r'^(linux-(image|headers|modules)|(proxmox|pve)-(kernel|headers))-.*\d')
KERNEL_IMAGE = re.compile(r'^(linux-image|proxmox-kernel|pve-kernel)-')
UNATTENDED = 'unattended-upgrades'
REMOVE = ['remove', '--no-auto-remove']


def look(run_id):
    """A result that says whether the host may be patched at all. Raises Failure where it is not a Debian.

    An empty run_id makes one up.
    """
    result = empty_result(run_id or time.strftime('%Y%m%dT%H%M%SZ', time.gmtime()))
    result['hold'] = hold()
    family = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', read_text('/etc/os-release'), re.M)
    if result['hold'] is None and 'debian' not in ' '.join(family).split():
        raise Failure('look', 'only hosts of the Debian family can be patched, this one is %s'
                      % (' '.join(family) or 'unknown'))
    return result


def survey(policy, have, options=apt.PRIVATE, given=None):
    """What this policy would do now: changes, removals, what is left out and why, and the pins to do it with.

    have is apt.installed(). given is the plan of the run: then it is that or nothing. Raises Failure when apt cannot plan
    at all, or, with the words plan drift, when it cannot bring about what was planned.
    """
    command, patterns = COMMANDS[policy['upgrade_type']], policy['exclude']
    first = apt.SECURITY_FIRST if policy['upgrade_type'] == 'security_only' else ''
    free = sound(apt.simulate(command, first, options))
    sim, pins = free, first
    excluded = apt.matching(patterns, list(free['install']) + free['kept'])
    stay = set(apt.matching(patterns, have))
    if policy['upgrade_type'] == 'security_only':
        stay.update(n for n, p in free['install'].items() if p['from'] and not p['security'])
    if stay or patterns:
        pins = apt.pin_text(sorted(n for n in stay if n in have), patterns, have) + first
        sim = sound(apt.simulate(command, pins, options))
    unplanned, warnings = {}, hidden(options)
    if given:
        sim, pins, unplanned = narrow(given, have, command, sim, pins, options)
        if unplanned:
            warnings.append('nobody planned %s for a host of this kind: left for the next run' % words(unplanned))
    touched = apt.matching(patterns, list(sim['install']) + list(sim['remove']))
    if touched and given and given['packages'] is not None:     # else nobody planned that for this host
        raise Failure('drift', 'plan drift: %s is planned, and patching_exclude keeps it as it is' % ', '.join(touched))
    if touched:
        raise Failure('plan', 'the upgrade would change %s, which patching_exclude keeps as it is: look at what needs it '
                      'with apt-get -s %s' % (', '.join(touched), ' '.join(command)))
    holds = apt.held()
    kept = [n for n in sim['kept'] if n not in holds and n not in excluded]
    versions = apt.candidates(sorted(set(holds + kept + excluded)), first, options)
    return {
        'command': command, 'pins': pins, 'install': sim['install'], 'remove': sim['remove'], 'unneeded': sim['unneeded'],
        'excluded': [{'name': n, 'from': have.get(n, ''), 'to': versions.get(n, ('', ''))[1]} for n in excluded],
        'held': [{'name': n, 'installed': versions.get(n, ('', ''))[0], 'candidate': versions.get(n, ('', ''))[1]}
                 for n in holds],
        'kept_back': [{'name': n, 'from': have.get(n, ''), 'to': versions.get(n, ('', ''))[1],
                       'reason': why_kept(n, free, sim, pins, options)} for n in kept if n not in unplanned]
        + [{'name': n, 'from': have.get(n, ''), 'to': v, 'reason': 'it is not in the plan of the run'}
           for n, v in sorted(unplanned.items())],
        'warnings': warnings,
    }


def sound(sim):
    """The simulation. Raises Failure where it is none: it says of nothing that it would be upgraded."""
    if sim['rc'] != 0:
        raise Failure('plan', 'apt-get cannot plan the upgrade: ' + apt.first_error(sim['stderr']), sim['stderr'])
    return sim


def hidden(options):
    """A warning where the host's APT::Default-Release has apt prefer another archive of Debian's to its security archive, of which
    no update is seen then."""
    release = run(['apt-config', 'shell', 'is', 'APT::Default-Release'] + options).stdout.strip()
    if not release:
        return []
    theirs = [(p, apt.is_security(said)) for said, p in apt.priorities(options) if re.search(r'\bo=(Debian|Ubuntu)\b', said)]
    security = [p for p, is_security in theirs if is_security]
    if not security or max(security) >= max(p for p, _ in theirs):
        return []
    return ['security updates are not seen on this host: its %s gives their archive a lower priority than others. One that means '
            'both is /^bookworm(|-security|-updates)$/' % release.replace('is=', 'APT::Default-Release ')]


def narrow(given, have, command, sim, pins, options):
    """A simulation that does what was planned, no more and no less; (simulation, pins, what is left out).

    given['packages'] is what was planned for this host, by name, '' for a removal. None is a host that was not prepared.
    Where its lists are of the moment by which others of its kind were planned (given['archives']), it would have been
    planned the same. Else it gets what given['others'] has for them, and nothing that no other host was planned to get.
    """
    would, wanted = versions(sim), given['packages']
    if wanted is None:
        if not would and not sim['remove']:
            return sim, pins, {}
        theirs, ours = (given['archives'] or {}).get(freeze.kind(), {}), freeze.archives(options)
        common = [name for name in ours if name in theirs]
        if common and all(ours[name] == theirs[name] for name in common):
            return sim, pins, {}
        others = (given['others'] or {}).get(freeze.kind(), {})
        if not others:
            raise Failure('drift', 'plan drift: this host could not be prepared before the first wave, the archive has changed '
                          'since, and no other host of %s was planned to get anything: run again, which makes a new plan'
                          % freeze.kind())
        left = {n: others[n] for n in would if others.get(n)}
        left = {n: v for n, v in left.items() if have.get(n) != v}
        gone = {n for n, v in others.items() if not v}
    else:
        left = {n: v for n, v in wanted.items() if v and have.get(n) != v}
        gone = {n for n, v in wanted.items() if not v}
    past = [n for n, v in left.items() if n in have and reboot.newer(have[n], v)]
    if past:
        raise Failure('drift', 'plan drift: newer than planned is %s: run again, which makes a new plan'
                      % ', '.join('%s %s' % (n, have[n]) for n in sorted(past)))
    if would != left or not set(sim['remove']) <= gone:
        stay = [n for n in set(would) | set(sim['kept']) if n in have and n not in left]
        away = [n for n in would if n not in have and n not in left]
        pins = apt.pin_text(sorted(left), sorted(away), left) + apt.pin_text(sorted(stay), [], have) + pins
        sim = apt.simulate(command, pins, options)
    now = versions(sim)
    if sim['rc'] == 0 and now == left and set(sim['remove']) <= gone:
        return sim, pins, {n: v for n, v in would.items() if n not in left}
    wrong = ['%s %s is planned and %s' % (n, v, 'apt would bring ' + now[n] if n in now else 'cannot be had')
             for n, v in sorted(left.items()) if now.get(n) != v]
    wrong += ['%s would be changed as well' % n for n in sorted(now) if n not in left]
    wrong += ['%s would be removed' % n for n in sorted(sim['remove']) if n not in gone]
    if not wrong:
        sound(sim)
    raise Failure('drift', 'plan drift: %s: run again, which makes a new plan' % '; '.join(wrong[:5]), sim['stderr'])


def versions(sim):
    """{name: version} of what a simulation changes. A package that was built anew under the version of the archive's, which apt
    puts back, is none of it."""
    return {n: p['to'] for n, p in sim['install'].items() if p['from'] != p['to']}


def words(packages):
    """Packages and versions, only the first few of many."""
    names = ['%s %s' % item for item in sorted(packages.items())]
    return ', '.join(names[:5]) + (' and %d more' % (len(names) - 5) if len(names) > 5 else '')


def why_kept(name, free, sim, pins, options):
    """Why apt keeps a package back, from what would happen if it were asked for by name."""
    if name not in free['kept']:
        return 'needs an upgrade that the policy leaves out'
    if name in sim['phased']:
        return 'its update is phased: this host is not among the first'
    asked = apt.simulate(['install', name], pins, options)
    if asked['remove']:
        names = sorted(asked['remove'])
        more = ' and %d more' % (len(names) - 3) if len(names) > 3 else ''
        return 'its upgrade would remove ' + ', '.join(names[:3]) + more
    held = apt.section(asked['text'], 'The following held packages will be changed:')
    if held:
        return 'needs another version of the held ' + ', '.join(held)
    unmet = re.search(r'^ *(\S+ : (?:Pre)?Depends: .*|(?:Pre)?Depends: .*)$', asked['text'], re.M)
    return unmet.group(1).strip() if unmet else 'apt gives no reason'


def removable(policy, release, options=apt.PRIVATE, found=None):
    """Packages to autoremove by policy; with a survey, those that there will be when its upgrade was made.

    Never the running kernel, never an excluded package, and never one that would take others along.
    """
    if policy['autoremove'] == 'none':
        return []
    # by now: what pending asks as well. Where it would change anything, it says nothing about now.
    seen = found or apt.simulate(COMMANDS['security'], options=options)
    if not seen['unneeded'] and (found or (seen['rc'] == 0 and not seen['install'] and not seen['remove'])):
        return []
    if found:
        sim = apt.simulate(found['command'] + ['--auto-remove'], found['pins'], options)
        names = [n for n in sim['remove'] if n not in found['remove']]
    else:
        names = apt.simulate(['autoremove'], options=options)['remove']
    names = [n for n in names if release not in n]
    names = [n for n in names if not apt.matching(policy['exclude'], [n])]
    if policy['autoremove'] == 'kernels':
        names = [n for n in names if KERNEL_FILES.match(n)]
    return sorted(names) if found else alone(names, options)


def alone(names, options):
    """These packages, sorted, if they can be removed without any other; else none."""
    if names and set(apt.simulate(REMOVE + names, options=options)['remove']) != set(names):
        return []
    return sorted(names)


def unattended(policy, have, options=apt.PRIVATE):
    """(whether to remove unattended-upgrades, warning)."""
    if not policy['remove_unattended_upgrades'] or UNATTENDED not in have:
        return False, ''
    if apt.matching(policy['exclude'], [UNATTENDED]):
        return False, UNATTENDED + ' stays: patching_exclude names it'
    if UNATTENDED in apt.held():
        return False, UNATTENDED + ' stays: it is on hold'
    others = set(apt.simulate(REMOVE + [UNATTENDED], options=options)['remove']) - {UNATTENDED}
    if others:
        return False, '%s stays: its removal would also remove %s' % (UNATTENDED, ', '.join(sorted(others)))
    return True, ''


def short_of_space(policy, names):
    """Sentences about file systems with less free than the policy asks for. /boot counts when a kernel comes."""
    short = []
    for path, least in sorted(policy['min_free_mib'].items()):
        least = int(least)
        if not os.path.isdir(path) or (path == '/boot' and not any(KERNEL_IMAGE.match(n) for n in names)):
            continue
        stat = os.statvfs(path)
        free = stat.f_bavail * stat.f_frsize >> 20
        if free < least:
            short.append('only %d MiB are free in %s, %d are needed: make room there' % (free, path, least))
    return short


def space(policy):
    """The file systems that the policy names and the host has, each once: what is free there, and what has to be."""
    found = {}
    for path, least in sorted(policy['min_free_mib'].items()):
        if not os.path.isdir(path):
            continue
        stat = os.statvfs(path)
        here = found.setdefault(os.stat(path).st_dev, {
            'paths': [], 'free_mib': stat.f_bavail * stat.f_frsize >> 20, 'least_mib': 0,
            'read_only': bool(stat.f_flag & os.ST_RDONLY)})
        here['paths'].append(path)
        here['least_mib'] = max(here['least_mib'], int(least))
    return list(found.values())


def pending(options=apt.PRIVATE):
    """Number of packages that wait for an upgrade, by kind, whatever the policy leaves out. None if apt cannot say."""
    try:
        sim = sound(apt.simulate(COMMANDS['security'], options=options))
    except Failure:
        return None
    upgrades = [p for p in sim['install'].values() if p['from']]
    holds = apt.held()
    waiting = [n for n, (has, new) in apt.candidates(holds, options=options).items() if has and new != has]
    return {'security': sum(p['security'] for p in upgrades), 'other': sum(not p['security'] for p in upgrades),
            'held': len(waiting), 'kept_back': len([n for n in sim['kept'] if n not in holds])}


def plan(policy, run_id, detailed=False, given=None):
    """The result of check mode: what an upgrade would change. Writes nothing that outlives it.

    detailed plans with lists of this moment, however new the host's own are, and tells all that can be foreseen. given is the
    plan of the run: then it is what the upgrade will do by that, with the lists that were kept for it.
    """
    result = look(run_id)
    result['check'] = True
    if result['hold']:
        return result
    kept = freeze.made(given['id']) if given else 0
    planned = contextlib.nullcontext((apt.PRIVATE + freeze.options(given['id']), max(0, int(time.time()) - kept), [])) if kept else None
    with planned or lists.recent(-1 if detailed else policy['lists_max_age']) as (options, age, warnings):
        result.update(lists_age_seconds=age, warnings=warnings)
        would_change(policy, result, options, given)
        if detailed:
            forecast.tell(result, options)
    result['dpkg_audit'] = apt.audit()
    if result['dpkg_audit']:
        warnings.append('dpkg was interrupted earlier: a run begins with dpkg --configure -a')
    coming = [p['name'] for p in result['packages'] if p['to']]
    warnings += short_of_space(policy, coming)
    if not has_systemd():
        warnings.append('systemd does not run here: failed units are unknown, and a real run is refused')
    units = failed_units()
    result['failed_units'] = {'before': units, 'after': units}
    found = reboot.needrestart()
    warnings += [found['problem']] if found['problem'] else []
    reboot.judge(result, *reboot.state(found))
    due = [] if result['reboot_futile'] else result['reboot_reasons']
    result['reboot_forecast'] = '; '.join(due + [f for f in [reboot.forecast(coming)] if f])
    return result


def would_change(policy, result, options, given=None):
    """Put into result what an upgrade by this policy would change and leave out; returns the survey."""
    have, release = apt.installed(), os.uname().release
    found = survey(policy, have, options, given)
    gone = dict(found['remove'], **{n: have.get(n, '') for n in removable(policy, release, options, found)})
    remove, warning = unattended(policy, have, options)
    if remove:
        gone[UNATTENDED] = have[UNATTENDED]
    result['warnings'] += ([warning] if warning else []) + found['warnings']
    result['packages'] = sorted(
        [dict(p, name=n) for n, p in found['install'].items()]
        + [{'name': n, 'from': v, 'to': '', 'origin': '', 'security': False} for n, v in gone.items()],
        key=lambda p: p['name'])
    result.update(held_packages=found['held'], kept_back=found['kept_back'], excluded=found['excluded'])
    return found
