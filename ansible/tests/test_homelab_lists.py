"""Tests of the package lists: whose source failed, how old Debian's lists are, and a private copy of them."""
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_lists as lists              # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_upgrade as upgrade          # noqa: E402

# As apt-get 2.6 prints it.
UPDATE = """\
Hit:1 http://first.example/debian bookworm InRelease
Err:2 http://first.example/debian bookworm/main amd64 Packages
  Hash Sum mismatch
Ign:3 http://third.example/apt ./ InRelease
Err:4 http://third.example/apt ./ Release
  404  Not Found [IP: 192.0.2.1 80]
Err:5 http://third.example/other stable InRelease
"""

ORIGINS = lists.parse_sources('http://first.example/debian|bookworm|Debian|Debian\n'
                              'http://mirror.example/d/|bookworm-security|Debian|Debian-Security\n'
                              'http://someone:secret@third.example/apt|./|Somebody|Somebody\n')

HITS = ('Hit:1 http://first.example/debian bookworm InRelease\n'
        'Get:2 http://mirror.example/d bookworm-security InRelease [48.0 kB]\n')
THIRD = 'Err:3 http://third.example/apt ./ Release\n  404  Not Found [IP: 192.0.2.1 80]\n'
THIRD_SAYS = "E: The repository 'http://third.example/apt ./ Release' does not have a Release file.\n"
EXPIRED = ('E: Release file for http://%s/InRelease is expired (invalid since 3d 1h). Updates for this repository '
           'will not be applied.\n')
IGNORED = 'E: Some index files failed to download. They have been ignored, or old ones used instead.\n'


class Sources(unittest.TestCase):
    def test_errors_with_their_reasons(self):
        errors = lists.parse_update(UPDATE)
        self.assertEqual([(e['site'], e['release'], e['reason']) for e in errors], [
            ('http://first.example/debian', 'bookworm/main', 'Hash Sum mismatch'),
            ('http://third.example/apt', './', '404  Not Found [IP: 192.0.2.1 80]'),
            ('http://third.example/other', 'stable', 'no reason given')])

    def test_a_password_in_an_address_is_not_kept(self):
        self.assertIn(('http://third.example/apt', './'), ORIGINS)

    def test_whose_source_it_is(self):
        docker, mysql = 'https://download.docker.com/linux/debian', 'http://repo.mysql.com/apt/debian'
        for site, release, known, want in (
                # fetched before: its Release says so
                ('http://first.example/debian', 'bookworm/main', True, True),
                ('http://mirror.example/d', 'bookworm-security/main', True, True),
                ('http://third.example/apt', './', True, False),
                # never fetched: another suite of the address, then the host
                ('http://first.example/debian', 'bookworm-backports', True, True),
                ('http://third.example/apt', 'next', True, False),
                ('http://first.example/security', './', True, True),
                ('http://security.debian.org', 'x', False, True),
                ('http://ftp.debian.org/debian', 'x', True, True),
                ('http://cache.example:3142/ftp.debian.org/debian', 'x', True, True),
                ('http://de.archive.ubuntu.com/ubuntu', 'x', True, True),
                ('http://notdebian.org', 'x', False, False),
                ('http://debian.org.example/x', 'x', False, False),
                ('http://other.example/debian-security', 'x', True, True),
                ('http://other.example/d', 'trixie-security/main', True, True),
                # third parties end in /debian as well: a local mirror only where nothing else is Debian's
                (docker, 'bookworm', True, False), (mysql, 'bookworm', True, False),
                ('http://mirror.example/debian', 'trixie', False, True),
                ('http://third.example/notdebian', './', False, False)):
            self.assertEqual(lists.is_debians(site, release, ORIGINS if known else {}), want, site)
        self.assertFalse(lists.is_debians(docker, 'x', {}, [docker, 'http://ftp.debian.org/debian']))


class Judged(unittest.TestCase):
    def judge(self, stdout, stderr='', code=0, origins=None):
        return lists.judge(mock.Mock(stdout=stdout, stderr=stderr, returncode=code), ORIGINS if origins is None else origins)

    def test_all_well(self):
        seen = self.judge(HITS + 'Hit:3 http://third.example/apt ./ InRelease\n')
        self.assertEqual((seen.problem, seen.warnings, seen.fresh), ('', [], True))

    def test_a_third_party_alone_is_one_warning(self):
        seen = self.judge(HITS + THIRD, THIRD_SAYS, 100)
        self.assertEqual((seen.problem, seen.fresh), ('', True))
        self.assertEqual(seen.warnings, ['the source http://third.example/apt ./ cannot be refreshed: '
                                         '404  Not Found [IP: 192.0.2.1 80]'])

    def test_a_third_party_that_expired_is_a_warning(self):
        seen = self.judge(HITS, EXPIRED % 'third.example/apt/.' + IGNORED, 100)
        self.assertEqual((seen.problem, len(seen.warnings), seen.fresh), ('', 1, True))

    def test_beside_a_third_partys_failure_debians_is_still_seen(self):
        for said in (EXPIRED % 'first.example/debian/dists/bookworm', 'E: The list of sources could not be read.\n',
                     EXPIRED % 'nobody.example/x'):
            seen = self.judge(HITS + THIRD, THIRD_SAYS + said, 100)
            self.assertIn(said[3:].strip(), seen.problem)
            self.assertFalse(seen.fresh)

    def test_debians_own_failure(self):
        seen = self.judge(HITS.replace('Get:2', 'Err:2'), 'W: Failed to fetch\n')
        self.assertIn('bookworm-security cannot be refreshed', seen.problem)
        self.assertFalse(seen.fresh)

    def test_an_address_below_a_third_partys_is_not_explained_by_it(self):
        origins = lists.parse_sources('http://m.example|./|Third|Third\nhttp://m.example/debian|b|Debian|Debian')
        seen = self.judge('Hit:1 http://m.example/debian b InRelease\n' + THIRD.replace('third.example/apt', 'm.example'),
                          EXPIRED % 'm.example/debian/dists/b', 100, origins)
        self.assertIn('is expired', seen.problem)

    def test_an_address_that_serves_debian_and_others_is_debians(self):
        origins = lists.parse_sources('http://m.example|bookworm|Debian|Debian\nhttp://m.example|tools|Corp|Corp')
        seen = self.judge('Hit:1 http://m.example bookworm InRelease\nHit:2 http://m.example tools InRelease\n',
                          EXPIRED % 'm.example/dists/bookworm', 100, origins)
        self.assertIn('is expired', seen.problem)
        self.assertFalse(seen.fresh)

    def test_no_source_that_was_ever_fetched(self):
        for site in ('http://198.51.100.1/bookworm/main', 'http://first.example/debian', 'https://download.docker.com/linux/debian'):
            seen = self.judge('Err:1 %s ./ InRelease\n  404\n' % site, '', 0, {})
            self.assertIn('cannot be refreshed', seen.problem)

    def test_no_source_at_all_is_never_fresh(self):
        self.assertEqual(self.judge('', '', 0, {}), lists.Refreshed('', '', [], False))

    def test_an_unknown_failure_ends_it(self):
        self.assertIn('killed', self.judge(HITS, 'killed', 137).problem)

    def test_a_source_of_debians_that_was_passed_over_is_not_fresh(self):
        seen = self.judge(HITS.splitlines()[0] + '\nIgn:2 http://mirror.example/d bookworm-security InRelease\n')
        self.assertEqual((seen.problem, seen.fresh), ('', False))

    def test_a_list_of_mirrors_is_reached_through_a_mirror(self):
        origins = lists.parse_sources('mirror+file:/etc/apt/mirrors/debian.list|bookworm|Debian|Debian')
        self.assertTrue(self.judge('Hit:2 https://ftp.debian.org/debian bookworm InRelease\n', origins=origins).fresh)
        self.assertFalse(self.judge('Hit:2 https://ftp.debian.org/debian trixie InRelease\n', origins=origins).fresh)


class Age(unittest.TestCase):
    """The step of the unit, with an apt-get of its own that succeeds and reaches what it is told to."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(self.folder + '/partial')
        self.now = 1800000000
        for name, value in (('LISTS', self.folder), ('STAMP', self.folder + '/stamp'),
                            ('run', self.run_apt)):
            self.patch(lists, name, value)
        self.patch(lists.time, 'time', lambda: self.now)
        self.patch(lists, 'write_durable', lambda path, data: self.write(os.path.basename(path), self.now))
        self.reached = HITS
        self.write('x_InRelease', self.now)

    def patch(self, *args):
        patch = mock.patch.object(*args)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, name, mtime):
        with open(os.path.join(self.folder, name), 'w', encoding='utf-8'):
            pass
        os.utime(os.path.join(self.folder, name), (mtime, mtime))

    def run_apt(self, argv, **_):
        if argv[1] == 'update':
            os.utime(self.folder + '/partial', (self.now, self.now))
            return mock.Mock(stdout=self.reached, stderr='', returncode=0)
        return mock.Mock(stdout='http://first.example/debian|bookworm|Debian|Debian\n'
                                'http://mirror.example/d|bookworm-security|Debian|Debian-Security\n')

    def refresh(self):
        step = upgrade.Upgrade({'run': 'r', 'policy': {'lists_max_age': 86400}})
        step.refresh()
        return step.result

    def test_lists_that_an_update_did_not_reach_grow_old(self):
        self.assertEqual(self.refresh()['lists_age_seconds'], 0)
        self.reached = HITS.splitlines()[0] + '\n'
        self.now += 7200
        result = self.refresh()
        self.assertEqual((result['lists_age_seconds'], len(result['warnings'])), (7200, 1))
        self.now += 86400
        with self.assertRaisesRegex(system.Failure, '26 hours old'):
            self.refresh()
        self.reached = HITS
        self.assertEqual(self.refresh()['warnings'], [])

    def test_a_clock_that_was_ahead_makes_no_list_new_for_ever(self):
        self.refresh()
        self.now -= 30
        self.assertEqual(lists.age(), 0)
        self.now -= 86400
        self.assertEqual(lists.age(), -1)

    def test_without_lists_nothing_is_a_success(self):
        os.unlink(self.folder + '/x_InRelease')
        with self.assertRaisesRegex(system.Failure, 'no package lists'):
            self.refresh()

    def test_never_reached(self):
        self.reached = ''
        self.assertEqual(lists.age(), -1)
        with self.assertRaisesRegex(system.Failure, 'no package lists'):
            self.refresh()

    def test_what_a_killed_check_left_is_removed(self):
        old, used, young = (tempfile.mkdtemp(prefix=lists.COPY, dir=self.folder) for _ in range(3))
        other = tempfile.mkdtemp(prefix='other-', dir=self.folder)
        for folder in (old, used, other):
            os.utime(folder, (self.now - 3600, self.now - 3600))
        os.utime(young, (self.now, self.now))
        with lists.locked(used):
            lists.sweep(self.folder)
        self.assertEqual([os.path.exists(f) for f in (old, used, young, other)], [False, True, True, True])

    def test_a_plan_with_recent_lists_uses_them(self):
        self.write('stamp', self.now - 60)
        with lists.recent(3600) as (options, age, warnings):
            self.assertEqual((options, age, warnings), (lists.PRIVATE, 60, []))

    def test_a_plan_with_old_lists_uses_a_copy_that_goes_away(self):
        with lists.recent(3600) as (options, age, warnings):
            self.assertEqual((age, warnings), (0, []))
            folder = os.path.dirname(options[-1])
            self.assertTrue(os.path.exists(folder + '/lists/x_InRelease'))
            self.assertIn('#clear APT::Update::Post-Invoke;', system.read_text(options[-1]))
        self.assertFalse(os.path.exists(folder))
        self.assertFalse(os.path.exists(lists.STAMP))

    def test_root_that_may_become_nobody_downloads_as_root(self):
        for powers, as_root in (('000001ffffffffff', False), ('0000000000080006', True), ('0000000000000040', True)):
            self.patch(lists, 'read_text', lambda path, powers=powers: 'Name:\tx\nCapEff:\t%s\n' % powers)
            with lists.recent(3600) as (options, _, _):
                self.assertEqual(lists.AS_ROOT in system.read_text(options[-1]), as_root, powers)

    def test_a_plan_says_when_it_had_to_use_old_lists(self):
        self.write('stamp', self.now - 7200)
        self.reached = 'Err:1 http://first.example/debian bookworm InRelease\n  no route\n'
        with lists.recent(3600) as (options, age, warnings):
            self.assertEqual((options, age), (lists.PRIVATE, 7200))
        self.assertIn('are 2 hours old: newer ones could not be fetched', warnings[-1])
        self.assertIn('no route', warnings[-1])


if __name__ == '__main__':
    unittest.main()
