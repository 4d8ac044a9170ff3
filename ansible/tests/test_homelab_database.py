"""Tests of what is known of dpkg's packages, from one question until dpkg has changed anything."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_system as system            # noqa: E402


class Database(unittest.TestCase):
    """What dpkg knows, asked once until it has changed anything."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(self.folder + '/updates')
        self.asked, self.text = [], ''
        for name, fake in (('DATABASE', self.folder), ('run', self.run_dpkg)):
            patch = mock.patch.object(apt, name, fake)
            patch.start()
            self.addCleanup(patch.stop)
        for cache in (apt.database, apt.native_architecture):
            cache.cache_clear()
            self.addCleanup(cache.cache_clear)
        self.change('bash\tamd64\t5.2-1\tii \n')

    def run_dpkg(self, argv):
        if argv == ['dpkg', '--print-architecture']:
            return mock.Mock(stdout='amd64\n', returncode=0)
        self.assertEqual(argv[:2], ['dpkg-query', '-W'])
        self.asked.append(argv)
        return mock.Mock(stdout=self.text, returncode=0)

    def change(self, text):
        """As dpkg does: a new file takes the place of the old."""
        self.text = text
        with open(self.folder + '/status-new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.rename(self.folder + '/status-new', self.folder + '/status')

    def test_asked_again_only_when_it_has_changed(self):
        for _ in range(3):
            self.assertEqual((apt.installed(), apt.held()), ({'bash': '5.2-1'}, []))
        self.assertEqual(len(self.asked), 1)
        apt.installed()['bash'] = 'what a caller makes of it is its own'
        self.assertEqual(apt.installed(), {'bash': '5.2-1'})
        self.change('bash\tamd64\t5.2-2\thi \n')
        self.assertEqual((apt.installed(), apt.held()), ({'bash': '5.2-2'}, ['bash']))
        self.assertEqual(len(self.asked), 2)

    def test_a_change_that_stands_in_the_journal_alone_is_one(self):
        apt.installed()
        for number, name in enumerate(('0000', '0001')):
            with open(self.folder + '/updates/' + name, 'w', encoding='utf-8'):
                pass
            self.text = 'bash\tamd64\t6-%d\tii \n' % number
            self.assertEqual(apt.installed(), {'bash': '6-%d' % number})

    def test_a_change_while_it_is_asked_is_seen_the_next_time(self):
        def ask(argv):
            said = self.run_dpkg(argv)
            if argv[0] == 'dpkg-query' and len(self.asked) == 1:
                self.change('bash\tamd64\t9\tii \n')
            return said
        with mock.patch.object(apt, 'run', ask):
            self.assertEqual([apt.installed()['bash'] for _ in range(3)], ['5.2-1', '9', '9'])

    def test_where_that_cannot_be_told_it_is_asked_each_time(self):
        os.rmdir(self.folder + '/updates')
        for version in ('1', '2'):
            self.text = 'bash\tamd64\t%s\tii \n' % version
            self.assertEqual(apt.installed(), {'bash': version})

    @unittest.skipUnless(shutil.which('dpkg-query') or os.environ.get('E2E_REQUIRED') == '1', 'no dpkg here')
    def test_real_dpkg(self):
        """A selection that dpkg itself makes is seen, with the architecture in the name where it is a foreign one."""
        for name in ('available', 'lock'):
            with open(os.path.join(self.folder, name), 'w', encoding='utf-8'):
                pass
        os.mkdir(self.folder + '/info')
        self.change(''.join('Package: %s\nStatus: %s\nVersion: 1\nArchitecture: %s\nMulti-Arch: same\nMaintainer: a <a@lab.invalid>\n'
                            'Description: made up\n\n' % said for said in (
                                ('lab', 'install ok installed', apt.native_architecture()), ('lab', 'install ok installed', 'riscv64'),
                                ('was', 'deinstall ok config-files', 'all'))).replace('Architecture: all\nMulti-Arch: same', 'Architecture: all'))
        asked = []

        def run(argv, **_):
            asked.append(argv)
            return system.run([argv[0], '--admindir=' + self.folder, *argv[1:]])
        with mock.patch.object(apt, 'run', run):
            for _ in range(2):
                self.assertEqual((apt.installed(), apt.held()), ({'lab': '1', 'lab:riscv64': '1'}, []))
            self.assertEqual(len(asked), 1)
            subprocess.run(['dpkg', '--admindir=' + self.folder, '--set-selections'], input='lab:riscv64 hold\n', text=True, check=True)
            self.assertEqual((apt.installed(), apt.held()), ({'lab': '1', 'lab:riscv64': '1'}, ['lab:riscv64']))
            self.assertEqual(len(asked), 2)

    def test_held(self):
        self.change('bash\tamd64\t1\thi \nlibc6\tamd64\t2\tii \nlibc6\ti386\t2\thi \ndoc\tall\t3\thi \nhalf\tamd64\t4\thU \n'
                    'gone\tamd64\t5\trc \n\nno line of dpkg-query\n')
        self.assertEqual(apt.held(), ['bash', 'libc6:i386', 'doc', 'half'])
        self.assertEqual(apt.installed(), {'bash': '1', 'libc6': '2', 'libc6:i386': '2', 'doc': '3', 'half': '4'})


if __name__ == '__main__':
    unittest.main()
