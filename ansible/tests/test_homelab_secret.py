"""Tests of the file that a secret is written to: who may read it from its first byte, and what is left when it fails."""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
FOLDER = os.path.join(os.path.dirname(__file__), '..', 'roles', 'patch-controller', 'module_utils')
sys.path.insert(0, FOLDER)
import homelab_secret as secret                            # noqa: E402

ME = (os.getuid(), os.getgid())


class File(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, 'notify.env')

    def put(self, text, mode=0o600):
        with open(self.path, 'w', encoding='ascii') as f:
            f.write(text)
        os.chmod(self.path, mode)

    def test_write(self):
        self.put('old', 0o644)
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        secret.write(self.path, b'new', *ME)
        self.assertEqual(secret.current(self.path), (b'new', *ME, 0o600))
        self.assertEqual(os.listdir(self.folder), ['notify.env'])

    def test_nobody_else_reads_it_at_any_time(self):
        modes = []
        rename = os.rename

        def look(new, path):
            modes.append(os.stat(new).st_mode & 0o777)
            rename(new, path)
        with mock.patch.object(secret.os, 'rename', look), \
                mock.patch.object(secret.os, 'fchmod', lambda fd, mode: modes.append(os.fstat(fd).st_mode & 0o777)):
            secret.write(self.path, b'new', *ME)
        self.assertEqual(modes, [0o600, 0o600])

    def test_what_a_killed_one_left_is_gone(self):
        with open(os.path.join(self.folder, '.notify.env.new'), 'w', encoding='ascii') as f:
            f.write('half')
        secret.write(self.path, b'new', *ME)
        self.assertEqual(os.listdir(self.folder), ['notify.env'])

    def test_failure_leaves_the_old_one(self):
        for step in ('fchown', 'fchmod', 'fsync', 'rename'):
            self.put('old')
            with mock.patch.object(secret.os, step, side_effect=OSError(28, 'no space')), self.assertRaises(OSError):
                secret.write(self.path, b'new', *ME)
            self.assertEqual(secret.current(self.path), (b'old', *ME, 0o600), step)
            self.assertEqual(os.listdir(self.folder), ['notify.env'], step)

    def test_a_link_is_replaced(self):
        target = os.path.join(self.folder, 'target')
        with open(target, 'w', encoding='ascii') as f:
            f.write('other')
        os.symlink(target, self.path)
        self.assertIsNone(secret.current(self.path))
        secret.write(self.path, b'new', *ME)
        self.assertFalse(os.path.islink(self.path))
        with open(target, encoding='ascii') as f:
            self.assertEqual(f.read(), 'other')

    def test_what_is_no_file_is_not_read(self):
        os.mkfifo(self.path)    # would block
        self.assertIsNone(secret.current(self.path))

    def test_piped(self):
        program = 'import sys; sys.path.insert(0, %r); import homelab_secret as s; print(s.piped())' % FOLDER
        file = os.path.join(self.folder, 'AnsiballZ_homelab_secret.py')
        with open(file, 'w', encoding='ascii') as f:
            f.write(program)
        for argv, by in (([], program), ([file], '')):
            done = subprocess.run([sys.executable, *argv], input=by, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout.strip(), str(not argv))


if __name__ == '__main__':
    unittest.main()
