#!/usr/bin/python
"""One action of the patching role on a host. The work is in module_utils; this is its face to Ansible, where the host does not
have the program yet: see action_plugins/homelab_patch.py."""
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.homelab_act import answer
from ansible.module_utils.homelab_call import ARGUMENTS, BEGUN

DOCUMENTATION = r'''
module: homelab_patch
short_description: Looks at, upgrades and judges one Debian host
description:
  - Each action may be repeated. What changes packages happens in a transient systemd unit on the host.
options:
  action:
    description:
      - C(look) says whether the host is on hold or cannot be patched; C(plan) what an upgrade would change.
      - C(prepare) has a unit plan and download the upgrade of a run, and waits for it. No package is changed.
      - C(upgrade) takes the host's lease, and has the unit run once for I(run), or goes on waiting for it; C(settle) judges the host after
        a reboot; C(record) writes the host's metrics, has units of the host write them from then on, marks the
        result of I(run) as published and gives the lease up; C(doctor) returns I(homelab_doctor), what a run would stumble
        over. C(health) is not the module's: the action plugin asks systemd, and returns I(homelab_health).
    type: str
    required: true
    choices: [look, plan, prepare, upgrade, settle, record, doctor]
  run:
    description: Id of the run. Empty for C(look) makes one up, which is returned in the result.
    type: str
    default: ''
  policy:
    description: How to patch, by the names of the role's variables without their prefix.
    type: dict
    suboptions:
      upgrade_type: {type: str, required: true, choices: [security, security_only, dist]}
      exclude: {type: list, elements: str, required: true}
      autoremove: {type: str, required: true, choices: [kernels, none, all]}
      lists_max_age: {type: int, required: true}
      lock_timeout: {type: int, required: true}
      min_free_mib: {type: dict, required: true}
      remove_unattended_upgrades: {type: bool, required: true}
      keep_replaced_mib: {type: int, required: true}
      idle: {type: bool, default: false}
      textfile_dir: {type: path, required: true}
  detailed:
    description: Whether C(plan) plans with lists of this moment, and tells all that can be foreseen.
    type: bool
    default: false
  plan:
    description: Versions of the run, for C(prepare), C(upgrade) and C(plan). Without it they are whatever the mirror has.
    type: dict
    suboptions:
      id: {type: str, required: true, description: Of the plan; the same for all hosts.}
      attempt: {type: str, required: true, description: C(prepare) is done once for each.}
      packages: {type: dict, description: 'Version by name, empty for a removal. Missing: the host was not prepared.'}
      archives: {type: dict, description: 'Of a host that was not prepared: hashes of what other hosts were planned by, by suite and architecture.'}
      others: {type: dict, description: 'Of a host that was not prepared: the versions of other hosts, by suite and architecture.'}
  rollback:
    description:
      - Has C(plan) and C(upgrade) undo a run instead. Its id, the packages as it changed them, the units that had failed
        before it, and for C(upgrade) the packages of the result of C(plan), from which the host must not differ.
    type: dict
    suboptions:
      of: {type: str, required: true}
      packages: {type: list, elements: dict, required: true}
      failed_units: {type: list, elements: str, required: true}
      shown: {type: list, elements: dict, default: []}
  wait:
    description: Seconds that C(prepare), C(upgrade) and C(settle) wait at most before they return.
    type: int
    default: 60
  look:
    description:
      - Has C(upgrade) do what C(look) does first, and leave a host on hold alone.
    type: bool
    default: false
  record:
    description:
      - Has C(upgrade) do what C(record) does as well, where there is nothing to publish that could be lost, no restart is due and
        all went well. It returns C(recorded) then.
    type: bool
    default: false
  held:
    description: Whether what was published is that the host is on hold. Then C(record) notes nothing else as published.
    type: bool
    default: false
  success:
    description: Whether C(record) notes a success.
    type: bool
    default: false
'''


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec=ARGUMENTS)
    print(BEGUN, file=sys.stderr, flush=True)
    done = answer(module.params, module.check_mode)
    for warning in done.pop('warnings', []):
        module.warn(warning)
    if done.pop('failed', False):
        module.fail_json(**done)
    module.exit_json(**done)


if __name__ == '__main__':
    main()
