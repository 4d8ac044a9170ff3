"""Tests of what an upgrade would change, with the real apt on archives and a package database made up here."""
import email.utils
import hashlib
import os
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_lists as lists              # noqa: E402
from module_utils import homelab_plan as plan                # noqa: E402
from module_utils.homelab_system import Failure              # noqa: E402

PACKAGE = 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x\nPriority: optional\nSection: misc\n%s'


@unittest.skipUnless(shutil.which('apt-get'), 'needs apt-get')
class Survey(unittest.TestCase):
    """All made-up packages are installed as version 1."""

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

    def survey(self, kind, exclude=(), main=(), security=(), automatic=()):
        """The survey, after a refresh from archives with these (package, version, more fields)."""
        with tempfile.TemporaryDirectory() as self.folder:
            self.archive('main', 'Debian', 'oldstable', main)
            self.archive('security', 'Debian-Security', 'oldstable-security', security)
            for name in ('lists/partial', 'cache/archives/partial'):
                os.makedirs(os.path.join(self.folder, name))
            names = sorted({p[0] for p in list(main) + list(security)} | set(automatic))
            for file, text in (
                    ('sources', ''.join('deb [trusted=yes] file:%s/%s ./\n' % (self.folder, a) for a in ('main', 'security'))),
                    ('status', ''.join(PACKAGE % (n, '1', 'Status: install ok installed\nDescription: x\n\n') for n in names)),
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
            found = plan.survey(policy, dict.fromkeys(names, '1'), apt.PRIVATE + options)
            found['removable'] = plan.removable(policy, '0', apt.PRIVATE + options)
            return found

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


if __name__ == '__main__':
    unittest.main()
