"""Tests of what a host says to the doctor: python3 -m unittest discover -s ansible/tests"""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_doctor as doctor            # noqa: E402
from module_utils import homelab_plan as plan                # noqa: E402
from module_utils.homelab_system import Failure              # noqa: E402

POLICY = {'upgrade_type': 'security', 'exclude': [], 'min_free_mib': {'/': 512, '/var': 600, '/nowhere': 9},
          'remove_unattended_upgrades': True, 'textfile_dir': '/nowhere'}


class Doctor(unittest.TestCase):
    def facts(self, **broken):
        """What the host says, with these functions of the module replaced."""
        with mock.patch.multiple(doctor, **broken):
            return doctor.doctor(POLICY)

    def test_one_that_cannot_be_looked_at_hides_none_of_the_others(self):
        def fails():
            raise Failure('lock', 'nobody knows')
        facts = self.facts(lock=fails, python_apt=mock.Mock(side_effect=ValueError('x')), sources=lambda: 3, upgrade=lambda policy: [],
                           health=lambda: {'state': 'running'})
        self.assertEqual((facts['lock'], facts['unknown']['lock']), (None, 'nobody knows'))
        self.assertEqual((facts['python_apt'], facts['unknown']['python_apt']), (None, 'ValueError: x'))
        self.assertEqual((facts['sources'], facts['health']), (3, {'state': 'running'}))
        self.assertEqual(facts['textfiles'], 'no metrics of this host: the folder /nowhere does not exist')
        self.assertEqual((facts['version'], facts['uid']), (1, os.geteuid()))

    def test_a_dpkg_that_fails_is_not_in_order(self):
        for code, out, err, words in ((2, '', 'dpkg: error: no database\n', 'no database'), (127, '', 'dpkg is not installed', 'not installed')):
            with mock.patch.object(apt, 'run', lambda argv, timeout: subprocess.CompletedProcess(argv, code, out, err)):
                with self.assertRaisesRegex(Failure, words):
                    apt.audit()
        with mock.patch.object(apt, 'run', lambda argv, timeout: subprocess.CompletedProcess(argv, 1, 'half\n', '')):
            self.assertEqual(apt.audit(), 'half')

    @unittest.skipUnless(os.path.exists('/usr/bin/apt-get'), 'needs apt-get')
    def test_sources_are_counted_before_they_were_ever_fetched(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(folder + '/lists/partial')
            for text, want in (('deb [trusted=yes] http://192.0.2.1/a ./\n', True), ('', False), ('deb nonsense\n', None)):
                with open(folder + '/sources', 'w', encoding='utf-8') as f:
                    f.write(text)
                options = ['-o', 'Dir::Etc::SourceList=%s/sources' % folder, '-o', 'Dir::Etc::SourceParts=/nowhere',
                           '-o', 'Dir::State::lists=%s/lists' % folder]
                with mock.patch.object(doctor.apt, 'PRIVATE', doctor.apt.PRIVATE + options):
                    if want is None:
                        with self.assertRaisesRegex(Failure, 'Malformed entry 1'):
                            doctor.sources()
                    else:
                        self.assertEqual(doctor.sources() > 0, want)
            self.assertEqual(os.listdir(folder + '/lists'), ['partial'])


class Space(unittest.TestCase):
    def test_a_file_system_once_with_the_greatest_need(self):
        found = plan.space(POLICY)
        self.assertEqual(sorted(p for f in found for p in f['paths']), ['/', '/var'])
        self.assertEqual(max(f['least_mib'] for f in found), 600)
        if os.stat('/').st_dev == os.stat('/var').st_dev:
            self.assertEqual((len(found), found[0]['paths']), (1, ['/', '/var']))


if __name__ == '__main__':
    unittest.main()
