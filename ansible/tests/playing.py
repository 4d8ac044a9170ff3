"""What tests with the real Ansible begin with."""
import os
import shutil
import tempfile
import unittest


@unittest.skipUnless(shutil.which('ansible-playbook') or os.environ.get('E2E_REQUIRED') == '1', 'no ansible-playbook here')
class Playing(unittest.TestCase):
    """Tests that run ansible-playbook in a folder of their own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
