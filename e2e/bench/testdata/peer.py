"""Runs the playbook of the project in argv[1] with ansible-runner; its files go to argv[2]."""
import sys

import ansible_runner

run = ansible_runner.run(private_data_dir=sys.argv[2], project_dir=sys.argv[1], playbook='patch.yml', quiet=True)
sys.exit(run.rc if run.status == 'successful' else 1)
