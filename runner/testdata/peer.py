"""Runs a playbook by python3-ansible-runner and prints its stats as JSON.

    peer.py FOLDER PLAYBOOK INVENTORY LIMIT
"""
import json
import sys

import ansible_runner

folder, playbook, inventory, limit = sys.argv[1:]
run = ansible_runner.run(private_data_dir=folder, playbook=playbook, inventory=inventory, limit=limit, quiet=True)
print(json.dumps(run.stats))
