"""Tests of what is kept for a way back, with .debs that dpkg-deb makes, and of what going back would change."""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_replaced as replaced        # noqa: E402
from module_utils import homelab_rollback as rollback        # noqa: E402
from module_utils.homelab_system import Failure              # noqa: E402

MIB = 1 << 20


def policy(mib, min_free=0):
    return {'keep_replaced_mib': mib, 'min_free_mib': {'/': min_free}}


class Folders(unittest.TestCase):
    """apt's cache and our folder are the test's; the packages app and lib are installed, in versions 1 and 2:1."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.now = folder.name, 1000
        self.cache = os.path.join(self.folder, 'cache')
        os.mkdir(self.cache)
        self.patch(replaced, 'REPLACED', os.path.join(self.folder, 'replaced'))
        self.patch(replaced, 'CACHE', self.cache)
        self.patch(replaced, 'native_architecture', lambda: 'amd64')
        self.patch(replaced, 'REPACK', ())
        self.patch(replaced, 'details', lambda names: {n: self.detail(n) for n in names if n in self.versions})
        self.versions, self.sizes = {'app': '1', 'lib': '2:1'}, {}

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def detail(self, name):
        version = self.versions[name]
        return {'version': version, 'architecture': 'all', 'file': replaced.file_name(name, version, 'all'), 'size': self.sizes.get(name, 0)}

    def deb(self, name, version, size=0, under=None):
        """Make a .deb in apt's cache, of at least so many bytes."""
        with tempfile.TemporaryDirectory() as tree:
            os.mkdir(tree + '/DEBIAN')
            with open(tree + '/DEBIAN/control', 'w', encoding='utf-8') as f:
                f.write('Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: a <a@lab.invalid>\nDescription: made up\n'
                        % (name, version))
            with open(tree + '/data', 'wb') as f:
                f.write(os.urandom(size))
            path = os.path.join(under or self.cache, replaced.file_name(name, version, 'all'))
            subprocess.run(['dpkg-deb', '-Znone', '-b', tree, path], check=True, stdout=subprocess.DEVNULL)
        return path

    def keep(self, run, names=('app', 'lib'), mib=512, **others):
        said, warnings = replaced.keep(run, names, policy(mib, **others))
        self.now += 1
        if os.path.isdir(replaced.folder(run)):
            os.utime(replaced.folder(run), (self.now, self.now))
        return said, warnings


class Keep(Folders):
    def test_from_the_cache_by_a_link(self):
        path = self.deb('lib', '2:1')
        said, warnings = self.keep('r1')
        self.assertEqual(said, {'kept': [{'name': 'lib', 'version': '2:1', 'source': 'cache'}],
                                'missing': [{'name': 'app', 'version': '1', 'reason': replaced.ABSENT}]})
        self.assertEqual(warnings, [])      # most hosts are like that
        kept = os.path.join(replaced.folder('r1'), 'lib_2%3a1_all.deb')
        self.assertTrue(os.path.samefile(path, kept))
        self.assertEqual([os.stat(p).st_mode & 0o777 for p in (replaced.REPLACED, replaced.folder('r1'))], [0o700, 0o700])
        os.unlink(path)                     # apt-get clean
        self.assertEqual(replaced.find('r1', 'lib', '2:1'), (kept, 'kept'))
        self.assertEqual(replaced.find('r1', 'lib', '2:2'), ('', ''))
        self.assertEqual(self.keep('r1')[0]['kept'], [{'name': 'lib', 'version': '2:1', 'source': 'kept'}])     # cut short, and again

    def test_the_limit_drops_old_runs_first_and_then_says_so(self):
        for name in ('app', 'lib'):
            self.deb(name, self.versions[name], 700 << 10)
            self.sizes[name] = 700 << 10
        self.keep('r1', ['app'], mib=1)
        said, warnings = self.keep('r2', ['lib'], mib=1)
        self.assertEqual(([p['name'] for p in said['kept']], warnings), (['lib'], []))
        self.assertEqual(os.listdir(replaced.REPLACED), ['r2'])
        said, warnings = self.keep('r3', mib=1)
        self.assertEqual(([p['name'] for p in said['kept']], [p['name'] for p in said['missing']]), (['app'], ['lib']))
        self.assertEqual(warnings, ['there is no way back for lib: ' + replaced.LIMIT])

    def test_a_few_runs_stay(self):
        self.deb('app', '1')
        for i in range(6):
            self.keep('r%d' % i, ['app'])
        self.assertEqual(sorted(os.listdir(replaced.REPLACED)), ['r3', 'r4', 'r5'])

    def test_a_copy_leaves_room_on_the_disk(self):
        self.deb('app', '1', 2 * MIB)
        self.patch(replaced.os, 'link', mock.Mock(side_effect=OSError(18, 'Invalid cross-device link')))
        free = os.statvfs(self.folder)
        beyond = (free.f_bavail * free.f_frsize >> 20) - 4      # 4 MiB are free beyond it, and so 1 may be used
        said, warnings = self.keep('r1', ['app'], min_free=beyond)
        self.assertEqual(([p['reason'] for p in said['missing']], len(warnings)), ([replaced.SPACE], 1))
        self.assertFalse(os.path.exists(replaced.folder('r1')))
        said, _ = self.keep('r1', ['app'], min_free=beyond - 100)
        self.assertEqual([p['source'] for p in said['kept']], ['cache'])

    def test_none_are_kept_where_the_policy_says_so(self):
        self.deb('app', '1')
        self.keep('r1')
        said, warnings = self.keep('r2', mib=0)
        self.assertEqual(([p['reason'] for p in said['missing']], warnings), ([replaced.OFF] * 2, []))
        self.assertFalse(os.path.exists(replaced.REPLACED))

    def test_no_error_comes_out(self):
        self.deb('app', '1')
        with open(replaced.REPLACED, 'w', encoding='utf-8'):
            pass                            # where the folder is to be
        said, warnings = self.keep('r1', ['app'])
        self.assertEqual([p['name'] for p in said['missing']], ['app'])
        self.assertIn('could not be kept', warnings[0])

    def test_an_id_is_one_name(self):
        for run in ('../../etc', '.', '..', 'a/b'):
            self.assertEqual(os.path.dirname(replaced.folder(run)), replaced.REPLACED, run)
            self.assertNotIn(os.path.basename(replaced.folder(run)), ('.', '..'))

    def test_another_package_under_its_name_is_not_kept(self):
        os.rename(self.deb('lib', '9'), os.path.join(self.cache, 'app_1_all.deb'))
        self.assertEqual(self.keep('r1', ['app'])[0]['kept'], [])


class Plan(Folders):
    """What apt would do is said by the test."""

    def setUp(self):
        super().setUp()
        self.have = {'app': '2', 'lib': '3', 'new': '1', 'helper': '1', 'other': '1'}
        self.back = {'of': 'r1', 'packages': [
            {'name': 'app', 'from': '1', 'to': '2'}, {'name': 'lib', 'from': '2', 'to': '3'},
            {'name': 'new', 'from': '', 'to': '1'}, {'name': 'helper', 'from': '', 'to': '1'}, {'name': 'gone', 'from': '1', 'to': ''}]}
        os.makedirs(replaced.folder('r1'))
        self.deb('app', '1', under=replaced.folder('r1'))
        self.deb('lib', '2')
        self.needed, self.besides, self.held = {}, [], []
        self.patch(apt, 'installed', lambda: self.have)
        self.patch(apt, 'held', lambda: self.held)
        self.patch(apt, 'simulate', self.simulate)
        self.patch(rollback, 'run', lambda argv, **_: subprocess.CompletedProcess(argv, 0, self.served, ''))
        self.served = ''

    def simulate(self, args, options=()):
        install, remove = {}, list(self.besides)
        for arg in args:
            if arg.endswith('.deb'):
                name, version, _ = os.path.basename(arg).split('_')
                install[name] = {'to': version}
            elif '=' in arg:
                install[arg.split('=')[0]] = {'to': arg.split('=')[1]}
            elif arg.endswith('-') and not arg.startswith('-'):
                remove += [arg[:-1]] + self.needed.get(arg[:-1], [])
        return {'rc': 0, 'install': install, 'remove': dict.fromkeys(remove, ''), 'text': '', 'stderr': ''}

    def refused(self):
        with self.assertRaises(Failure) as caught:
            rollback.plan(self.back)
        self.assertEqual(caught.exception.phase, 'rollback')
        return caught.exception.reason

    def test_back(self):
        found = rollback.plan(self.back)
        self.assertEqual([(p['name'], p['from'], p['to'], p['source']) for p in found['packages']], [
            ('app', '2', '1', 'kept'), ('lib', '3', '2', 'cache'), ('helper', '1', '', ''), ('new', '1', '', '')])
        self.assertEqual(found['stays'], [{'name': 'gone', 'version': '', 'reason': 'the run removed it, and has not kept its .deb'}])
        self.assertEqual(found['args'][2:], ['helper-', 'new-'])

    def test_what_something_else_needs_stays(self):
        self.needed = {'new': ['other']}
        found = rollback.plan(self.back)
        self.assertEqual([p['name'] for p in found['packages']], ['app', 'lib', 'helper'])
        self.assertIn(('new', '1'), [(p['name'], p['version']) for p in found['stays']])

    def test_what_is_back_already_is_left_out(self):
        self.have.update(app='1', lib='2')
        for name in ('new', 'helper'):
            del self.have[name]
        self.assertEqual((rollback.plan(self.back)['packages'], rollback.plan(self.back)['args']), ([], []))

    def test_what_the_run_removed_comes_back_if_it_was_kept(self):
        self.deb('gone', '1', under=replaced.folder('r1'))
        self.assertIn({'name': 'gone', 'from': '', 'to': '1', 'source': 'kept'}, rollback.plan(self.back)['packages'])

    def test_refused(self):
        self.have['app'] = '2.1'
        os.unlink(os.path.join(self.cache, 'lib_2_all.deb'))
        self.held = ['lib']
        said = self.refused()
        for words in ('app is 2.1 now: neither what the run made of it (2) nor what it was before (1)', 'there is no .deb of lib 2:',
                      'lib is on hold'):
            self.assertIn(words, said)

    def test_the_archive_may_have_it(self):
        os.unlink(os.path.join(self.cache, 'lib_2_all.deb'))
        self.served = '       lib | 3 | http://x y/main\n       lib | 2 | http://x y/main\n'
        found = rollback.plan(self.back)
        self.assertIn(('lib', 'archive'), [(p['name'], p['source']) for p in found['packages']])
        self.assertIn('lib=2', found['args'])

    def test_what_would_go_besides_is_a_refusal(self):
        self.besides = ['other']
        self.assertEqual(self.refused(), 'other would be removed: what is installed there needs what the run brought')


if __name__ == '__main__':
    unittest.main()
