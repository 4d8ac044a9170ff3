"""Tests of the versions of a run as a host keeps them: the copy of the lists, what is missed in it, and who prepares once."""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_freeze as freeze            # noqa: E402
from module_utils import homelab_prepare as prepare          # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_unit as unit                # noqa: E402
from module_utils import homelab_upgrade as upgrade          # noqa: E402

PLAN = {'id': '20261122T040000Z-1a2b3c', 'attempt': 'one', 'packages': None, 'others': None, 'archives': None}


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.patch(freeze, 'FOLDER', self.folder + '/cache')
        self.patch(freeze, 'LISTS', self.folder + '/lists')
        os.makedirs(self.folder + '/lists/partial')
        self.write('lists/x_InRelease', 'Origin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12\n')
        self.write('lists/lock', '')
        for module in (system, unit, prepare):
            for name in ('STATE', 'LOCK', 'PREPARE', 'PREPARED'):
                if hasattr(module, name):
                    self.patch(module, name, os.path.join(self.folder, name))

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), 'w', encoding='utf-8') as f:
            f.write(text)


class Copy(Files):
    def test_lists_stay_as_they_were(self):
        self.assertEqual(freeze.made(PLAN['id']), 0)
        freeze.make(PLAN['id'])
        self.assertGreater(freeze.made(PLAN['id']), 0)
        self.assertFalse(freeze.late(PLAN['id']))
        self.write('lists/new', 'newer')        # as apt does: a new file takes the place of the old
        os.rename(self.folder + '/lists/new', self.folder + '/lists/x_InRelease')
        self.assertIn('oldstable', system.read_text(freeze.folder(PLAN['id']) + '/lists/x_InRelease'))
        self.assertEqual(sorted(os.listdir(freeze.folder(PLAN['id']) + '/lists')), ['partial', 'x_InRelease'])

    def test_one_plan_at_a_time(self):
        freeze.make('a')
        freeze.make('b', late=True)
        self.assertEqual((os.listdir(freeze.FOLDER), freeze.late('b'), freeze.made('a')), (['b'], True, 0))
        freeze.clear()
        freeze.clear()
        self.assertFalse(os.path.exists(freeze.FOLDER))

    def test_what_was_installed_goes_to_the_cache_of_apt(self):
        os.mkdir(self.folder + '/debs')
        self.patch(freeze.replaced, 'CACHE', self.folder + '/debs')
        self.patch(freeze.apt, 'installed', lambda: {'app': '2'})
        self.patch(freeze.replaced, 'details', lambda names: {n: {'file': n + '_2_all.deb'} for n in names})
        freeze.make('a')
        for name in ('app_2_all.deb', 'app_3_all.deb'):     # the other was downloaded, and never installed
            self.write('cache/a/archives/' + name, name)
        freeze.make('b')
        self.assertEqual((os.listdir(self.folder + '/debs'), os.listdir(freeze.FOLDER)), (['app_2_all.deb'], ['b']))

    def test_an_id_is_no_path(self):
        for bad in ('../etc', '', 'a/b', '.', 'a\n'):
            with self.assertRaises(system.Failure):
                freeze.folder(bad)

    def test_what_is_gone_is_drift_and_a_mirror_that_is_down_is_not(self):
        for said, phase in (('E: Failed to fetch http://x/a.deb  404  Not Found [IP: 1.2.3.4 80]', 'drift'),
                            ('E: Failed to fetch http://x/a.deb  Could not connect to x:80', 'download')):
            self.patch(freeze, 'run', lambda *_, said=said, **__: subprocess.CompletedProcess([], 100, '', said + '\n'))
            with self.assertRaises(system.Failure) as caught:
                freeze.download(['upgrade'], '', [])
            self.assertEqual(caught.exception.phase, phase)

    def test_archives_are_told_by_their_release(self):
        self.patch(freeze, 'run', lambda *_: subprocess.CompletedProcess([], 0, 'Dir::State::lists "%s/lists";\n' % self.folder, ''))
        before = freeze.archives([])
        self.assertEqual(list(before), ['Debian Debian oldstable 12'])
        self.write('lists/x_InRelease', 'Origin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12\nDate: now\n')
        self.assertNotEqual(before, freeze.archives([]))


class Complete(Files):
    """Whether an upgrade has all of its .debs here, so that apt is not asked to download."""

    def setUp(self):
        super().setUp()
        self.patch(freeze.apt, 'native_architecture', lambda: 'amd64')
        freeze.make('a')

    def complete(self, plan='a', **packages):
        return freeze.complete(plan, {name.replace('_', ':'): version for name, version in packages.items()})

    def deb(self, name):
        self.write('cache/a/archives/' + name, '')

    def test_each_package_must_be_there_in_its_version(self):
        self.deb('app_2-1+deb12u1_amd64.deb')
        self.deb('lib_2%3a1_all.deb')
        self.assertTrue(self.complete(app='2-1+deb12u1', lib='2:1'))
        self.assertFalse(self.complete(app='2-1+deb12u1', lib='2:1', other='1'))
        for version in ('2:2', '1', '', '2'):
            self.assertFalse(self.complete(lib=version), version)
        self.deb('partial/half_1_amd64.deb')        # of a download that was cut
        self.assertFalse(self.complete(half='1'))

    def test_each_package_must_be_there_in_its_architecture(self):
        self.deb('libc6_2_amd64.deb')
        self.assertTrue(self.complete(libc6='2'))
        self.assertFalse(self.complete(libc6='2', libc6_i386='2'))
        self.deb('libc6_2_i386.deb')
        self.deb('old_1_i386.deb')
        self.assertTrue(self.complete(libc6='2', libc6_i386='2'))
        self.assertFalse(self.complete(old='1'))

    def test_a_plan_that_is_not_here_has_nothing(self):
        self.deb('app_1_all.deb')
        self.assertTrue(self.complete(app='1'))
        self.assertFalse(self.complete('b', app='1'))
        freeze.clear()
        self.assertFalse(self.complete(app='1'))

    def test_an_upgrade_downloads_what_is_not_here(self):
        found = {'install': {'app': {'from': '1', 'to': '2', 'security': False}}, 'remove': {}, 'held': [], 'kept_back': [],
                 'excluded': [], 'warnings': [], 'command': ['upgrade', 'app=2'], 'pins': ''}
        downloaded, begun = [], []
        for module, name, fake in ((upgrade.plan, 'survey', lambda *_, **__: found), (upgrade.apt, 'installed', dict),
                                   (freeze, 'download', lambda command, *_: downloaded.append(command)),
                                   (upgrade.replaced, 'keep', lambda *_: ({}, [])), (upgrade, 'tell', lambda text: None),
                                   (upgrade, 'BEFORE', self.folder + '/BEFORE'), (upgrade, 'PROGRESS', self.folder + '/PROGRESS'),
                                   (upgrade.Upgrade, 'apt_get', lambda _, args, names, pins: begun.append(args))):
            self.patch(module, name, fake)
        system.write_json(upgrade.BEFORE, {})
        for there, wanted in (([], [['upgrade', 'app=2']]), (['app_1_all.deb'], [['upgrade', 'app=2']]), (['app_2_all.deb'], [])):
            with self.subTest(there):
                for name in there:
                    self.deb(name)
                downloaded.clear()
                step = upgrade.Upgrade({'run': 'r', 'policy': {'min_free_mib': {}}, 'plan': dict(PLAN, id='a')})
                step.upgrade()
                self.assertEqual((downloaded, begun.pop(), begun), (wanted, ['upgrade', 'app=2'], []))


class After(Files):
    """What an upgrade leaves of the copy."""

    def finish(self, failure, late):
        for name, fake in (('audit', lambda: ''), ('installed', dict)):
            self.patch(upgrade.apt, name, fake)
        for module, name, fake in ((upgrade.plan, 'pending', lambda **_: {}), (upgrade, 'tell', lambda text: None),
                                   (upgrade.reboot, 'state', lambda *_: ({'running': 'x', 'installed': '', 'state': ''}, [])),
                                   (upgrade, 'RESULT', self.folder + '/RESULT')):
            self.patch(module, name, fake)
        freeze.make(PLAN['id'], late)
        step = upgrade.Upgrade({'run': 'r', 'policy': {'textfile_dir': self.folder}, 'plan': PLAN})
        step.result['failure'] = failure and dict(failure, reason='no')
        step.finish()
        return freeze.made(PLAN['id']) > 0

    def test_it_goes_with_success_and_stays_for_a_retry(self):
        self.assertFalse(self.finish(None, False))
        self.assertTrue(self.finish({'phase': 'upgrade'}, False))
        self.assertTrue(self.finish({'phase': 'drift'}, False))
        self.assertFalse(self.finish({'phase': 'drift'}, True))     # these lists do not have the versions


class Once(Files):
    """Who prepares, and how often systemd is asked for it. The clock is the test's."""

    def setUp(self):
        super().setUp()
        self.started, self.busy, self.now, self.asked = [], False, 100.0, []
        for name, fake in (('has_systemd', lambda: True), ('at_work', self.at_work), ('install', lambda: False),
                           ('transient', self.start)):
            self.patch(unit, name, fake)
        self.patch(unit.time, 'sleep', self.sleep)
        self.patch(unit.time, 'monotonic', lambda: self.now)

    def at_work(self, *units):
        self.assertEqual(units, (call.UNIT, call.PREPARE_UNIT))
        self.asked.append(self.now)
        return set(units[1:]) if self.busy else set()

    def sleep(self, seconds):
        self.now += seconds

    def end(self, attempt='one'):
        system.write_json(unit.PREPARED, {'attempt': attempt, 'result': {'failure': None}})

    def start(self, *_):
        self.started.append(system.read_json(unit.PREPARE)['attempt'])
        self.end(self.started[-1])

    def prepare(self, attempt, wait=5):
        return unit.prepare('r', {}, wait, dict(PLAN, attempt=attempt))['state']

    def test_an_attempt_is_made_once(self):
        self.assertEqual([self.prepare(a) for a in ('one', 'one', 'two')], ['done'] * 3)
        self.assertEqual(self.started, ['one', 'two'])

    def test_an_upgrade_at_work_is_waited_for(self):
        self.busy = True
        self.assertEqual((self.prepare('one', 0), self.started), ('running', []))

    def test_one_that_died_is_a_failure(self):
        self.patch(unit, 'transient', lambda *_: None)
        with self.assertRaisesRegex(system.Failure, 'without a result'):
            self.prepare('one')
        self.assertAlmostEqual(self.now, 100 + unit.ASK, delta=2 * unit.LOOK)

    def test_one_that_died_while_it_was_at_work_is_a_failure(self):
        system.write_json(unit.PREPARE, {'attempt': 'one'})
        self.busy = True

        def sleep(seconds):
            self.sleep(seconds)
            self.busy = self.now < 105
        self.patch(unit.time, 'sleep', sleep)
        with self.assertRaisesRegex(system.Failure, 'without a result'):
            self.prepare('one', 60)
        self.assertLess(self.now, 105 + unit.ASK + 2 * unit.LOOK)

    def test_a_result_that_is_there_is_returned_without_a_question(self):
        self.end()
        self.assertEqual((self.prepare('one'), self.asked), ('done', []))

    def test_a_result_ends_the_wait_without_another_question(self):
        self.busy = True

        def sleep(seconds):
            self.sleep(seconds)
            if self.now > 101:
                self.end()
        self.patch(unit.time, 'sleep', sleep)
        self.assertEqual((self.prepare('one', 60), self.asked), ('done', [100]))
        self.assertLess(self.now, 101 + 2 * unit.LOOK)

    def test_a_result_of_a_unit_that_ended_since_we_looked_counts(self):
        system.write_json(unit.PREPARE, {'attempt': 'one'})

        def at_work(*_):        # it writes its result and ends before systemd answers
            self.end()
            return set()
        self.patch(unit, 'at_work', at_work)
        self.assertEqual((self.prepare('one'), self.started), ('done', []))

    def test_systemd_is_asked_seldom(self):
        self.busy = True
        self.assertEqual(self.prepare('one', 20), 'running')
        self.assertEqual(len(self.asked), 20 // unit.ASK)
        self.assertGreaterEqual(min(b - a for a, b in zip(self.asked, self.asked[1:])), unit.ASK)

    def test_a_bug_leaves_a_result(self):
        system.write_json(prepare.PREPARE, {'run': 'r', 'attempt': 'one', 'policy': {}, 'plan': PLAN})
        self.patch(prepare.plan, 'look', lambda run: system.empty_result(run))
        prepare.prepare()
        report = system.read_json(prepare.PREPARED)
        self.assertEqual((report['attempt'], report['result']['failure']['phase']), ('one', 'internal'))


if __name__ == '__main__':
    unittest.main()
