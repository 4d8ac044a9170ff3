"""Tests of the program as a host has it: that it runs what was compiled, that damage is seen, and who writes it when."""
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import types
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_call as call                # noqa: E402
from module_utils import homelab_program as program          # noqa: E402

OTHER_MAGIC = bytes([importlib.util.MAGIC_NUMBER[0] ^ 1]) + importlib.util.MAGIC_NUMBER[1:]
# A Python that is none.
OTHER_PYTHON = types.SimpleNamespace(implementation=types.SimpleNamespace(cache_tag='cpython-999'))
DATA, VERSION = program.program(), program.version(program.texts())


class Zip(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'lib', 'homelab-patch')

    def put(self, data):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, 'wb') as f:
            f.write(data)

    def change(self, change):
        """Put the program there, each of its files as change makes it, given name and data. Whatever that is, the sums are right."""
        self.put(b'#!/usr/bin/python3\n')
        with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
            entries = [(name, archive.read(name)) for name in archive.namelist()]
        changed = [(name, change(name, data)) for name, data in entries]
        self.assertNotEqual(entries, changed)
        with zipfile.ZipFile(self.path, 'a', zipfile.ZIP_STORED) as archive:
            for name, data in changed:
                archive.writestr(zipfile.ZipInfo(name), data)

    def python(self, *args, **more):
        return subprocess.run([sys.executable, '-IS', *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **more)

    def ask(self):
        """Have it answer one question; (exit code, standard error, whether it answered)."""
        asked = {'version': VERSION, 'arguments': {'action': 'record'}, 'check': True}
        done = self.python(self.path, 'call', input=json.dumps(asked))
        return done.returncode, done.stderr, done.stdout == call.ANSWER + '{"skipped": true, "msg": "not in check mode"}\n'

    def inside(self, code):
        """What code prints that is run by the program's own modules, PROGRAM being where it is."""
        done = self.python('-c', 'import sys\nsys.path.insert(0, sys.argv[1])\nfrom homelab_patch import homelab_program as program\n'
                           'program.PROGRAM = sys.argv[1]\n' + code, self.path)
        self.assertEqual(done.stderr, '')
        return done.stdout


class Compiled(Zip):
    """Each module is there as text and compiled: what is run is what was compiled, by the Python that it was compiled for."""

    @staticmethod
    def spoil(name, data):
        return b'raise SystemExit("a text was run")\n' if name.endswith('.py') else data

    @staticmethod
    def of_another_python(name, data):
        return OTHER_MAGIC + data[4:] if name.endswith('.pyc') else data

    def test_it_is_all_there_twice(self):
        self.put(DATA)
        with zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
        texts = [name for name in names if name.endswith('.py')]
        self.assertEqual(sorted(names), sorted(texts + [name + 'c' for name in texts]))
        self.assertEqual(set(texts), {'__main__.py', 'homelab_patch/__init__.py'} | {'homelab_patch/' + name for name in program.texts()})

    def test_what_was_compiled_is_run(self):
        self.change(self.spoil)
        self.assertEqual(self.ask(), (0, call.BEGUN + '\n', True))

    def test_another_python_runs_the_texts(self):
        self.change(self.of_another_python)
        self.assertEqual(self.ask(), (0, call.BEGUN + '\n', True))
        self.change(lambda name, data: self.of_another_python(name, self.spoil(name, data)))
        self.assertEqual(self.ask(), (1, 'a text was run\n', False))

    def test_an_error_says_where_in_the_text(self):
        self.put(DATA)
        said = self.python(self.path, 'call', input='no question').stderr
        self.assertRegex(said, r'homelab_cli\.py", line \d+, in main')


class Whole(Zip):
    def test_the_program_is(self):
        self.put(DATA)
        self.assertTrue(program.whole(self.path))
        self.assertEqual(self.inside('print(program.whole(program.PROGRAM))'), 'True\n')       # says the program itself, too

    def test_none_is_not(self):
        self.assertFalse(program.whole(self.path))

    def test_a_damaged_one_is_not(self):
        for size in (0, 1, 19, len(DATA) // 2, len(DATA) - 100, len(DATA) - 1):
            self.put(DATA[:size])
            self.assertFalse(program.whole(self.path), size)
        with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
            entries = archive.infolist()
        for entry in entries:
            begin = entry.header_offset + 30 + len(entry.filename)      # of what the file is, after its header
            for place in (begin, begin + entry.file_size // 2, begin + entry.file_size - 1):
                self.put(DATA[:place] + bytes([DATA[place] ^ 1]) + DATA[place + 1:])
                self.assertFalse(program.whole(self.path), (entry.filename, place - begin))

    def test_one_with_a_damaged_directory_is_not(self):
        begin = DATA.rindex(b'PK\x01\x02')         # of the last entry
        for place in range(begin, begin + 46):      # whatever the zip makes of it, no exception
            self.put(DATA[:place] + bytes([DATA[place] ^ 1]) + DATA[place + 1:])
            program.whole(self.path)

    def test_another_version_is_not(self):
        other = dict(program.texts(), **{'homelab_apt.py': 'another'})
        with mock.patch.object(program, 'texts', lambda: other):
            self.put(program.program())
            self.assertTrue(program.whole(self.path))
        self.assertFalse(program.whole(self.path))

    def test_one_for_another_python_is_not(self):
        with mock.patch.object(program, 'sys', OTHER_PYTHON):
            self.put(program.program())
            self.assertTrue(program.whole(self.path))
        self.assertFalse(program.whole(self.path))


class Install(Zip):
    """From the module that Ansible sent, and from the program that is there."""

    def setUp(self):
        super().setUp()
        patch = mock.patch.object(program, 'PROGRAM', self.path)
        patch.start()
        self.addCleanup(patch.stop)

    def stat(self):
        found = os.stat(self.path)
        return found.st_ino, found.st_mtime_ns

    def test_the_module_writes_it_once(self):
        self.assertTrue(program.install())
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o755)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ['homelab-patch'])
        self.assertEqual(self.ask(), (0, call.BEGUN + '\n', True))
        before = self.stat()
        self.assertFalse(program.install())
        self.assertEqual(self.stat(), before)

    def test_the_module_writes_a_damaged_one_anew(self):
        self.put(DATA[:-1])
        self.assertTrue(program.install())
        self.assertTrue(program.whole(self.path))
        self.assertFalse(program.install())

    def test_the_program_leaves_itself_alone(self):
        self.put(DATA)
        before = self.stat()
        self.assertEqual(self.inside('program.whole = None      # not even asked\nprint(program.install())'), 'False\n')
        self.assertEqual(self.stat(), before)

    def test_the_program_is_made_anew_for_the_python_that_runs_it(self):
        with mock.patch.object(program, 'sys', OTHER_PYTHON):
            self.put(program.program())
        self.assertFalse(program.whole(self.path))
        self.assertEqual(self.inside('print(program.install())'), 'True\n')
        self.assertTrue(program.whole(self.path))
        self.assertEqual(self.inside('print(program.install())'), 'False\n')


if __name__ == '__main__':
    unittest.main()
