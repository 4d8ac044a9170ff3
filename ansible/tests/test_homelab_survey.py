"""Tests of what an upgrade would change, with the real apt on archives and a package database made up here."""
import contextlib
import email.utils
import hashlib
import os
import shutil
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_lists as lists              # noqa: E402
from module_utils import homelab_plan as plan                # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils.homelab_system import Failure              # noqa: E402

PACKAGE = 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x\nPriority: optional\nSection: misc\n%s'


@unittest.skipUnless(shutil.which('apt-get'), 'needs apt-get')
class Archives(unittest.TestCase):
    """All made-up packages are installed as version 1."""

    label = 'Debian'

    @contextlib.contextmanager
    def configured(self, text):
        """With this in the host's own apt.conf."""
        with tempfile.NamedTemporaryFile('w') as config, mock.patch.dict(system.ENV, APT_CONFIG=config.name):
            config.write(text)
            config.flush()
            yield

    def archive(self, name, label, suite, packages):
        os.makedirs(os.path.join(self.folder, name))
        text = ''.join(PACKAGE % (p, v, 'Filename: ./%s.deb\nSize: 1\nSHA256: %s\n%sDescription: x\n\n' % (p, '0' * 64, more))
                       for p, v, more in packages)
        release = 'Origin: Debian\nLabel: %s\nSuite: %s\nDate: %s\nSHA256:\n %s %d Packages\n' % (
            label, suite, email.utils.format_datetime(email.utils.localtime()).replace('-0000', 'UTC'),
            hashlib.sha256(text.encode()).hexdigest(), len(text))
        for file, content in (('Packages', text), ('Release', release)):
            with open(os.path.join(self.folder, name, file), 'w', encoding='utf-8') as f:
                f.write(content)

    def survey(self, kind, exclude=(), main=(), security=(), automatic=(), given=None, broken=''):
        """The survey, after a refresh from archives with these (package, version, more fields)."""
        with tempfile.TemporaryDirectory() as self.folder:
            self.archive('main', self.label, 'oldstable', main)
            self.archive('security', 'Debian-Security', 'oldstable-security', security)
            for name in ('lists/partial', 'cache/archives/partial'):
                os.makedirs(os.path.join(self.folder, name))
            names = sorted({p[0] for p in list(main) + list(security)} | set(automatic))
            for file, text in (
                    ('sources', ''.join('deb [trusted=yes] file:%s/%s ./\n' % (self.folder, a) for a in ('main', 'security'))),
                    ('status', ''.join(PACKAGE % (n, '1', 'Status: install ok installed\n%sDescription: x\n\n' % (
                        'Depends: lab-b (>= 2)\n' if n == broken else '')) for n in names)),
                    ('extended_states', ''.join('Package: %s\nArchitecture: all\nAuto-Installed: 1\n\n' % n for n in automatic)),
                    ('apt.conf', lists.CONFIG.format(self.folder) + ''.join(
                        'Dir::%s "%s/%s";\n' % (key, self.folder, file) for key, file in (
                            ('Etc::SourceList', 'sources'), ('Etc::SourceParts', 'none'), ('Etc::PreferencesParts', 'none'),
                            ('State::status', 'status'), ('State::extended_states', 'extended_states'))))):
                with open(os.path.join(self.folder, file), 'w', encoding='utf-8') as f:
                    f.write(text)
            options = ['-c', self.folder + '/apt.conf']
            refreshed = lists.refresh(options)
            self.assertEqual((refreshed.problem, refreshed.fresh), ('', True))
            policy = {'upgrade_type': kind, 'exclude': list(exclude), 'autoremove': 'all'}
            found = plan.survey(policy, dict.fromkeys(names, '1'), apt.PRIVATE + options, given)
            found['foreseen'] = plan.removable(policy, '0', apt.PRIVATE + options, found)
            found['removable'] = plan.removable(policy, '0', apt.PRIVATE + options)
            return found


class Survey(Archives):
    def versions(self, *args, **archives):
        return {n: p['to'] for n, p in self.survey(*args, **archives)['install'].items()}

    def test_security_only_finds_the_security_version_below_a_newer_one(self):
        archives = {'main': [('lab-a', '3', ''), ('lab-b', '2', '')], 'security': [('lab-a', '2', ''), ('lab-c', '2', '')]}
        self.assertEqual(self.versions('security', **archives), {'lab-a': '3', 'lab-b': '2', 'lab-c': '2'})
        self.assertEqual(self.versions('security_only', **archives), {'lab-a': '2', 'lab-c': '2'})
        self.assertEqual(self.versions('security_only', ['lab-a'], **archives), {'lab-c': '2'})
        self.assertEqual(self.versions('security_only', ['lab-?'], **archives), {})

    def test_excluded_packages_stay_and_are_reported(self):
        found = self.survey('dist', ['lab-a*'], main=[('lab-a', '2', ''), ('lab-ab', '2', ''), ('lab-b', '2', '')])
        self.assertEqual(list(found['install']), ['lab-b'])
        self.assertEqual([(e['name'], e['from'], e['to']) for e in found['excluded']], [('lab-a', '1', '2'), ('lab-ab', '1', '2')])

    def test_an_excluded_package_that_would_be_removed_ends_it(self):
        main = [('lab-b', '2', 'Conflicts: lab-a\n'), ('lab-c', '2', 'Depends: lab-b (>= 2)\n'),
                ('lab-d', '2', 'Depends: lab-c (>= 2)\n')]
        with self.assertRaisesRegex(Failure, 'would change lab-a, which patching_exclude keeps'):
            self.survey('dist', ['lab-a'], main=main, automatic=['lab-a'])

    def test_an_excluded_package_is_not_autoremoved(self):
        archives = {'main': [('lab-b', '1', '')], 'automatic': ['lab-a', 'lab-z']}
        self.assertEqual(self.survey('dist', **archives)['removable'], ['lab-a', 'lab-z'])
        self.assertEqual(self.survey('dist', ['lab-a'], **archives)['removable'], ['lab-z'])

    def test_what_is_said_does_not_depend_on_how_apt_is_configured_to_say_it(self):
        with self.configured('quiet "2";\nAPT::Get::HideAutoRemove "true";\nAPT::Get::Show-Versions "true";\nAPT::Get::AutomaticRemove "true";\n'):
            self.assertEqual(self.survey('dist', main=[('lab-b', '1', '')], automatic=['lab-a'])['removable'], ['lab-a'])
            kept = self.survey('security', main=[('lab-b', '2', 'Depends: lab-none\n')])['kept_back']
            self.assertEqual([k['name'] for k in kept], ['lab-b'])

    def test_an_archive_may_be_called_what_its_owner_likes(self):
        self.label = 'Lab [beta] (ours)'
        self.assertEqual(self.versions('security', main=[('lab-b', '2', '')]), {'lab-b': '2'})

    def test_a_release_that_hides_security_updates_is_told(self):
        archives = {'main': [('lab-a', '1', '')], 'security': [('lab-a', '2', '')]}
        with self.configured('APT::Default-Release "oldstable";\n'):
            found = self.survey('security', **archives)
        self.assertEqual(found['install'], {})      # apt is as it is
        self.assertIn("security updates are not seen on this host: its APT::Default-Release 'oldstable'", found['warnings'][0])
        with self.configured('APT::Default-Release "/^oldstable(|-security)$/";\n'):
            found = self.survey('security', **archives)
        self.assertEqual((list(found['install']), found['warnings']), (['lab-a'], []))

    def test_a_simulation_that_failed_is_none(self):
        with self.assertRaisesRegex(Failure, 'cannot plan'):
            plan.sound({'rc': 100, 'stderr': 'E: Broken packages'})
        with self.configured('APT::Get::Fix-Broken "true";\n'), self.assertRaisesRegex(Failure, 'cannot plan the upgrade: Broken packages'):
            self.survey('security', ['lab-b'], main=[('lab-a', '1', 'Depends: lab-b (>= 2)\n'), ('lab-b', '2', '')], broken='lab-a')

    def test_what_can_be_removed_after_the_upgrade_is_foreseen(self):
        found = self.survey('security', main=[('lab-b', '2', '')], automatic=['lab-a'])
        self.assertEqual(found['foreseen'], ['lab-a'])


class Given(Archives):
    """The plan of a run is carried out, or nothing is."""

    NEW = [('lab-a', '3', ''), ('lab-b', '2', ''), ('lab-c', '2', '')]

    def given(self, packages, others=None, main=NEW, archives=None, **more):
        given = {'packages': packages, 'others': others, 'archives': archives}
        found = self.survey('security', main=main, given=given, **more)
        return {n: p['to'] for n, p in found['install'].items()}, found

    def test_what_was_planned_and_no_more(self):
        self.assertEqual(self.given({'lab-a': '3', 'lab-b': '2', 'lab-c': '2'})[0], {'lab-a': '3', 'lab-b': '2', 'lab-c': '2'})
        self.assertEqual(self.given({'lab-b': '2'})[0], {'lab-b': '2'})
        self.assertEqual(self.given({})[0], {})

    def test_what_is_left_out_is_told(self):
        found = self.given({'lab-b': '2'})[1]
        self.assertEqual([(k['name'], k['to'], k['reason']) for k in found['kept_back']],
                         [('lab-a', '3', 'it is not in the plan of the run'), ('lab-c', '2', 'it is not in the plan of the run')])
        self.assertIn('lab-a 3, lab-c 2', found['warnings'][0])

    def test_an_older_version_that_is_still_there(self):
        both = {'main': self.NEW, 'security': [('lab-a', '2', '')]}
        self.assertEqual(self.given({'lab-a': '2'}, **both)[0], {'lab-a': '2'})

    def test_a_version_that_is_gone_is_drift(self):
        with self.assertRaisesRegex(Failure, 'plan drift: lab-a 2 is planned and apt would bring 3'):
            self.given({'lab-a': '2', 'lab-b': '2'})
        with self.assertRaisesRegex(Failure, 'plan drift: lab-z 2 is planned and cannot be had'):
            self.given({'lab-z': '2'})

    def test_a_package_that_is_put_back_under_its_version_is_no_drift(self):
        self.assertEqual(plan.versions({'install': {'a': {'from': '1', 'to': '1'}, 'b': {'from': '', 'to': '1'}}}), {'b': '1'})

    def test_what_is_installed_already_is_done(self):
        self.assertEqual(self.given({'lab-a': '1', 'lab-b': '2'})[0], {'lab-b': '2'})

    def test_what_is_newer_is_drift(self):
        with self.assertRaisesRegex(Failure, 'newer than planned is lab-a 1:'):
            self.given({'lab-a': '0.9'})

    def test_a_dependency_that_nobody_planned_is_drift(self):
        main = [('lab-a', '2', 'Depends: lab-b (>= 2)\n'), ('lab-b', '2', '')]
        with self.assertRaisesRegex(Failure, 'plan drift: lab-a 2 is planned and cannot be had'):
            self.given({'lab-a': '2'}, main=main)

    def test_a_removal_that_nobody_planned_is_drift(self):
        main = [('lab-a', '2', 'Conflicts: lab-b\n')]
        policy = {'packages': {'lab-a': '2'}, 'others': None, 'archives': None}
        with self.assertRaisesRegex(Failure, 'plan drift: lab-b would be removed'):
            self.survey('dist', main=main, automatic=['lab-b'], given=policy)
        policy['packages']['lab-b'] = ''
        self.assertEqual(list(self.survey('dist', main=main, automatic=['lab-b'], given=policy)['remove']), ['lab-b'])

    def test_what_the_policy_keeps_by_now_is_drift(self):
        with self.assertRaisesRegex(Failure, 'plan drift: lab-b is planned, and patching_exclude'):
            self.given({'lab-b': '2'}, exclude=['lab-b'])

    def test_what_nobody_planned_and_the_policy_keeps_is_no_drift(self):
        main, same = [('lab-b', '2', 'Conflicts: lab-a\n'), ('lab-c', '2', 'Depends: lab-b (>= 2)\n'),
                      ('lab-d', '2', 'Depends: lab-c (>= 2)\n')], {'Debian': 'a'}
        given = {'packages': None, 'others': {}, 'archives': {plan.freeze.kind(): same}}
        with mock.patch.object(plan.freeze, 'archives', lambda _: same), self.assertRaises(Failure) as refused:
            self.survey('dist', ['lab-a'], main=main, automatic=['lab-a'], given=given)
        self.assertEqual(refused.exception.phase, 'plan')
        self.assertIn('would change lab-a, which patching_exclude keeps', refused.exception.reason)

    def test_a_host_that_was_not_prepared_gets_what_others_get(self):
        kind = plan.freeze.kind()
        both = {'main': self.NEW, 'security': [('lab-a', '2', '')]}
        self.assertEqual(self.given(None, {kind: {'lab-a': '2', 'lab-x': '9'}}, **both)[0], {'lab-a': '2'})
        with self.assertRaisesRegex(Failure, 'plan drift: lab-a 2'):
            self.given(None, {kind: {'lab-a': '2'}})
        for nobody in ({}, {'other arch': {'lab-a': '3'}}):
            with self.assertRaisesRegex(Failure, 'plan drift: this host could not be prepared'):
                self.given(None, nobody)
        self.assertEqual(self.given(None, {}, main=[('lab-a', '1', '')])[0], {})

    def test_or_its_own_plan_while_the_archive_is_the_same(self):
        kind, now = plan.freeze.kind(), {'Debian Debian oldstable -': 'a', 'Own - - -': 'b'}
        for theirs, same in (({'Debian Debian oldstable -': 'a'}, True), ({'Debian Debian oldstable -': 'x'}, False),
                             ({'Debian Debian oldstable -': 'a', 'Own - - -': 'x'}, False), ({'Other': 'a'}, False)):
            with mock.patch.object(plan.freeze, 'archives', lambda _: now):
                got = self.given(None, {kind: {'lab-a': '3'}}, archives={kind: theirs})[0]
            self.assertEqual(got, {'lab-a': '3', 'lab-b': '2', 'lab-c': '2'} if same else {'lab-a': '3'})


class Show(unittest.TestCase):
    def test_sizes_and_sources(self):
        text = ('Package: libssl3\nSource: openssl (3.0.17-1)\nVersion: 3.0.17-1+b2\nSize: 2020\n\n'
                'Package: bash\nVersion: 5.2-1+b7\nDescription: x\n Size: 7\n')
        self.assertEqual(plan.forecast.parse_show(text), {
            ('libssl3', '3.0.17-1+b2'): {'size': 2020, 'source': 'openssl', 'source_version': '3.0.17-1'},
            ('bash', '5.2-1+b7'): {'size': -1, 'source': 'bash', 'source_version': '5.2-1'}})

    def test_services_that_use_a_file(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(plan.forecast, 'INFO', folder), \
                mock.patch.object(plan.forecast.os, 'listdir', lambda _: ['1', '2', 'self']), \
                mock.patch.object(plan.forecast, 'caller', list), \
                mock.patch.object(plan.forecast, 'read_text', self.read):
            self.folder = folder
            self.assertEqual(plan.forecast.services(['libssl3']), [
                {'service': 'dbus.service', 'packages': ['libssl3'], 'restarted': False},
                {'service': 'ssh.service', 'packages': ['libssl3'], 'restarted': True}])

    def read(self, path):
        return {self.folder + '/libssl3.list': '/.\n/usr/lib/x/libssl.so.3\n',
                '/proc/1/cgroup': '0::/system.slice/ssh.service\n', '/proc/2/cgroup': '0::/system.slice/dbus.service\n',
                '/proc/1/maps': '7f-80 r-xp 00 08:01 5   /lib/x/libssl.so.3\n7f-80 rw-p 0 0 0 \n',
                '/proc/2/maps': '7f-80 r-xp 00 08:01 5   /usr/lib/x/libssl.so.3\n'}.get(path, '')


if __name__ == '__main__':
    unittest.main()
