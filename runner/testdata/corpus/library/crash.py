#!/usr/bin/python3
"""Ends in each way in which a module must not."""
import sys

from ansible.module_utils.basic import AnsibleModule

how = AnsibleModule(argument_spec={'how': {'type': 'str'}}).params['how']
if how == 'a':
    raise RuntimeError('crashed')
if how == 'b':
    print('not JSON')
    sys.exit(0)
sys.exit(7)
