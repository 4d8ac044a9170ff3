"""Tests of what a host says of its health: python3 -m unittest discover -s ansible/tests"""
import os
import subprocess
import sys
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_health as health            # noqa: E402
from module_utils.homelab_system import Failure              # noqa: E402

# As systemd 252 prints it.
LISTED = '''\
homelab-patch.service loaded failed failed homelab-patch: upgrade of this host
nginx.service         loaded failed failed A high performance web server
data.mount            loaded failed failed /data
'''
SHOWN = '''\
Id=data.mount
StateChangeTimestamp=@1793534531

Id=nginx.service
StateChangeTimestamp=
'''


class Health(unittest.TestCase):
    def health(self, *, listed=(0, LISTED), shown=(0, SHOWN), state='degraded', systemd=True):
        """What the host says when systemctl answers like this."""
        self.asked = []

        def run(argv, timeout):
            self.assertLessEqual(timeout, 30)
            self.asked.append(argv[1:])
            code, out = {'list-units': listed, 'show': shown, 'is-system-running': (1, state + '\n')}[argv[1]]
            return subprocess.CompletedProcess(argv, code, out, 'no bus\n' if code == 1 else '')
        with mock.patch.object(health, 'run', run), mock.patch.object(health, 'has_systemd', lambda: systemd):
            return health.health()

    def test_failed_units_and_since_when(self):
        self.assertEqual(self.health(), {'version': 1, 'state': 'degraded', 'failed_units': [
            {'name': 'data.mount', 'since': 1793534531}, {'name': 'nginx.service', 'since': 0}]})
        self.assertEqual(self.asked[1][-3:], ['--', 'data.mount', 'nginx.service'])

    def test_a_host_that_is_well(self):
        self.assertEqual(self.health(listed=(0, ''), state='running'), {'version': 1, 'state': 'running', 'failed_units': []})
        self.assertEqual(len(self.asked), 2)

    def test_no_answer_is_not_a_good_one(self):
        for bad, words in (({'listed': (1, '')}, 'does not answer: no bus'), ({'listed': (124, '')}, 'exit code 124'),
                           ({'shown': (1, '')}, 'does not answer'), ({'systemd': False}, 'systemd does not run on this host')):
            with self.assertRaisesRegex(Failure, words):
                self.health(**bad)


if __name__ == '__main__':
    unittest.main()
