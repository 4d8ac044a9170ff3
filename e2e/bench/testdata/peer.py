"""Runs the playbook argv[2] of the project in argv[1] on the inventory argv[3] with ansible-runner; its files go to argv[4]."""
import sys

import ansible_runner

project, playbook, inventory, folder = sys.argv[1:]
run = ansible_runner.run(project_dir=project, playbook=playbook, inventory=project + '/' + inventory, private_data_dir=folder, quiet=True)
sys.exit(run.rc if run.status == 'successful' else 1)
