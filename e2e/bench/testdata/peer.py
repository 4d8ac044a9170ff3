"""Runs the playbook argv[2] of the project in argv[1] with ansible-runner; its files go to argv[3]."""
import sys

import ansible_runner

run = ansible_runner.run(project_dir=sys.argv[1], playbook=sys.argv[2], private_data_dir=sys.argv[3], quiet=True)
sys.exit(run.rc if run.status == 'successful' else 1)
