"""Runs a playbook by python3-ansible-runner and prints its stats as JSON: by host, in the words of Ansible's recap.

    peer.py FOLDER PLAYBOOK INVENTORY LIMIT
"""
import json
import sys

import ansible_runner

folder, playbook, inventory, limit = sys.argv[1:]
run = ansible_runner.run(private_data_dir=folder, playbook=playbook, inventory=inventory, limit=limit, quiet=True)
WORDS = {'ok': 'ok', 'changed': 'changed', 'dark': 'unreachable', 'failures': 'failures', 'skipped': 'skipped',
         'rescued': 'rescued', 'ignored': 'ignored'}
hosts = {}
for word, name in WORDS.items():
    for host, count in run.stats[word].items():
        hosts.setdefault(host, {})[name] = count
print(json.dumps(hosts))
