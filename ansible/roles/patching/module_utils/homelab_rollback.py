"""The way back of one run on this host: what would be undone, read only, and the unit that undoes it."""
import os
import re

from . import homelab_apt as apt
from . import homelab_plan as survey
from . import homelab_reboot as reboot
from . import homelab_replaced as replaced
from .homelab_system import Failure, failed_units, read_json, run, unit_active
from .homelab_upgrade import Upgrade

DOWN = ['install', '--allow-downgrades', '--no-install-recommends', '--no-auto-remove']
UNMET = re.compile(r'^ *(\S+ : (?:Pre)?(?:Depends|Breaks|Conflicts): .*)$', re.M)
JOURNAL = '/var/lib/dpkg/updates'       # of dpkg; has files while something was interrupted


def plan(back, options=apt.PRIVATE):
    """What undoing the run would change, and from what. back is what the orchestrator asks for: of, the id of the run,
    and packages, [{name, from, to}] as the run has changed them.

    Returns {packages: [{name, from, to, source}], stays: [{name, version, reason}], arguments of apt-get}. Raises Failure
    with all reasons where it cannot be done.
    """
    found = {'packages': [], 'stays': [], 'args': []}
    have, new, targets, problems = apt.installed(), [], {}, []
    for p in back['packages']:
        name, old, made, now = p['name'], p['from'], p['to'], have.get(p['name'], '')
        if now == old:
            continue
        if not made and now:
            stay(found, name, now, 'the run removed it, and it was installed again since')
        elif not made:
            path, source = replaced.find(back['of'], name, old, anywhere=False)
            if path:
                targets[name] = (old, path, source)
            else:
                stay(found, name, '', 'the run removed it, and has not kept its .deb')
        elif now != made and not old:
            stay(found, name, now, 'it came with the run, and was changed since')
        elif now != made:
            problems.append('%s is %s now: neither what the run made of it (%s) nor what it was before (%s), so that somebody has '
                            'changed it since' % (name, now or 'not installed', made, old))
        elif not old:
            new.append(name)
        else:
            targets[name] = (old,) + replaced.find(back['of'], name, old)
    problems += locate(targets, options)
    for name in sorted(set(apt.held()) & set(targets)):
        problems.append('%s is on hold: apt-mark unhold %s' % (name, name))
    if problems:
        raise refusal(problems)
    if not targets and not new:
        return found
    args = [path or '%s=%s' % (name, version) for name, (version, path, _) in sorted(targets.items())]
    base = simulate(args, options) if args else {'install': {}, 'remove': {}}
    judge(base, have, targets, new)
    gone = removable(args, new, base, have, targets, options, found)
    for name, p in sorted(base['install'].items()):
        source = targets[name][2] if name in targets else 'archive'
        found['packages'].append({'name': name, 'from': have.get(name, ''), 'to': p['to'], 'source': source})
    found['packages'] += [{'name': n, 'from': have[n], 'to': '', 'source': ''} for n in gone]
    found['args'] = args + [n + '-' for n in gone if n not in base['remove']]
    return found


def stay(found, name, version, reason):
    found['stays'].append({'name': name, 'version': version, 'reason': reason})


def refusal(problems, detail=''):
    return Failure('rollback', '; '.join(problems), detail)


def locate(targets, options):
    """Have the archive serve what is not on the host; returns a sentence for each that nobody has."""
    missing = sorted(n for n, (_, path, _) in targets.items() if not path)
    if not missing:
        return []
    served = set()
    for line in run(['apt-cache', 'madison'] + options + missing).stdout.splitlines():
        fields = [f.strip() for f in line.split('|')]
        served.add((fields[0], fields[1] if len(fields) > 1 else ''))
    problems = []
    for name in missing:
        version = targets[name][0]
        if (name.partition(':')[0], version) in served:
            targets[name] = (version, '', 'archive')
        else:
            problems.append('there is no .deb of %s %s: the run has not kept it, apt\'s cache does not have it, and no source of '
                            'the host offers it' % (name, version))
    return problems


def simulate(args, options):
    done = apt.simulate(DOWN + ['-y'] + args, options=options)
    if done['rc'] != 0:
        said = done['text'] + done['stderr']
        unmet = [m.strip() for m in UNMET.findall(said)]
        raise refusal(['apt cannot do it: ' + ('; '.join(unmet) or apt.first_error(done['stderr']))], said[-4000:])
    return done


def judge(sim, have, targets, new):
    """Refuse what apt would do besides. What is not installed may come with an old version: that needs it."""
    problems = ['apt would not bring %s back to %s' % (n, version) for n, (version, _, _) in sorted(targets.items())
                if sim['install'].get(n, {}).get('to') != version]
    others = sorted(n for n in sim['install'] if n in have and n not in targets)
    if others:
        problems.append('%s would change as well' % replaced.brief(others))
    gone = sorted(set(sim['remove']) - set(new))
    if gone:
        problems.append('%s would be removed: what is installed there needs what the run brought' % replaced.brief(gone))
    if problems:
        raise refusal(problems)


def removable(args, new, base, have, targets, options, found):
    """Those of the new packages that go, and nothing else with them; the others stay, and found says why."""
    release, gone = os.uname().release, set(base['remove'])
    left = []
    for name in sorted(set(new) - gone):
        if release in name:
            stay(found, name, have[name], 'it is the kernel that runs')
        else:
            left.append(name)

    def goes(names):
        """What would be removed with these, or None where apt would do more than that."""
        done = apt.simulate(DOWN + ['-y'] + args + [n + '-' for n in names], options=options)
        if done['rc'] != 0 or set(done['install']) != set(base['install']):
            return None
        return set(done['remove'])

    if left and goes(gone | set(left)) == gone | set(left):
        return sorted(gone | set(left))
    for name in left:
        if name not in gone:
            more = goes(gone | {name})
            if more is not None and name in more and more <= set(left) | gone:
                gone = more
    for name in sorted(set(left) - gone):
        stay(found, name, have[name], 'it came with the run, and something else on the host needs it')
    return sorted(gone)


def preview(back, run_id):
    """The result of check mode: what undoing the run would change. Touches nothing."""
    result = survey.look(run_id)
    result['check'] = True
    if result['hold']:
        return result
    if unit_active():
        raise refusal(['homelab-patch.service is at work on the host: wait for its end'])
    tell(result, back, plan(back))
    result['dpkg_audit'] = apt.audit()
    reboot.judge(result, *reboot.state())
    return result


def tell(result, back, found):
    """Put what is to be done into a result, in the same words before and after."""
    result['rollback'] = {'of': back['of'], 'packages': found['packages'], 'stays': found['stays']}
    result['packages'] = [{'name': p['name'], 'from': p['from'], 'to': p['to'], 'security': False} for p in found['packages']]


class Rollback(Upgrade):
    """One run of the unit that goes back. Its result is an upgrade's, and says rollback besides."""

    def __init__(self, request):
        super().__init__(request)
        self.back = request['rollback']

    def steps(self):
        return (('lock', self.wait_for_dpkg), ('dpkg', self.repair), ('space', self.check_space), ('rollback', self.roll_back),
                ('services', self.restart_services))

    def begin(self):
        super().begin()
        # Well is the host if nothing has failed that had not before the run that is undone.
        self.result['failed_units']['before'] = sorted(self.back['failed_units'])

    def repair(self):
        """What the upgrade has left in disorder goes when the old version comes: that needs dpkg's own journal to be empty,
        and not that the broken version can be configured."""
        if os.path.isdir(JOURNAL) and os.listdir(JOURNAL):
            self.call(['dpkg', '--configure', '-a', '--force-confdef', '--force-confold'])

    def roll_back(self):
        found = plan(self.back, apt.LIVE)
        tell(self.result, self.back, found)
        if found['packages'] != self.back['shown']:
            raise refusal(['the host is not any more as it was when this was shown: nothing was changed; look again'])
        if not found['packages']:
            return
        for path in found['args']:
            if path.startswith('/') and run(['dpkg-deb', '--contents', path], timeout=600).returncode != 0:
                raise refusal(['%s is damaged: nothing was changed' % path])
        self.progress('rollback', len(found['packages']))
        try:
            self.apt_get(DOWN + found['args'])
        except Failure as e:
            raise Failure('rollback', e.reason, e.detail) from e
        have = apt.installed()
        wrong = ['%s is %s' % (p['name'], have.get(p['name']) or 'not installed') for p in found['packages']
                 if have.get(p['name'], '') != p['to']]
        if wrong:
            raise refusal(['apt-get reports success, but ' + ', '.join(wrong)])

    def restart_services(self):
        """A unit that failed under the new version is given another start under the old one."""
        for unit in failed_units():
            if unit not in self.result['failed_units']['before'] and not reboot.spared(unit, self.caller):
                run(['systemctl', 'reset-failed', unit], timeout=60)
                run(['systemctl', 'restart', unit], timeout=120)
        super().restart_services()


def request(path):
    """What the unit was asked to do, as the class that does it."""
    asked = read_json(path)
    return Rollback(asked) if asked.get('rollback') else Upgrade(asked)
