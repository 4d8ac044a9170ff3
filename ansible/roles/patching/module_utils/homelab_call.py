"""What controller and host agree on when the role asks the installed program for an action. It imports nothing of ours: the
controller loads it as well."""

PROGRAM = '/usr/local/lib/homelab-patch/homelab-patch'
# Of `call`: we are another version than the one that is asked for. EX_PROTOCOL of sysexits.h.
OTHER_VERSION = 76
# Before the answer, because a login shell may print as well.
ANSWER = 'homelab-patch-answer '
# On standard error, before anything is done: a link that is lost from here on was lost to a host that had answered.
BEGUN = 'homelab-patch-begun'

# What an answer may have. Ansible acts on names of its own in a result, such as add_host: no host is to say those.
SAYS = ('changed', 'failed', 'failure', 'msg', 'skipped', 'warnings', 'state', 'progress', 'result', 'begun', 'restarted', 'recorded',
        'homelab_health', 'homelab_doctor')

ACTIONS = ['look', 'plan', 'prepare', 'upgrade', 'settle', 'record', 'health', 'doctor']

POLICY = {
    'upgrade_type': {'type': 'str', 'choices': ['security', 'security_only', 'dist'], 'required': True},
    'exclude': {'type': 'list', 'elements': 'str', 'required': True},
    'autoremove': {'type': 'str', 'choices': ['kernels', 'none', 'all'], 'required': True},
    'lists_max_age': {'type': 'int', 'required': True},
    'lock_timeout': {'type': 'int', 'required': True},
    'min_free_mib': {'type': 'dict', 'required': True},
    'remove_unattended_upgrades': {'type': 'bool', 'required': True},
    'keep_replaced_mib': {'type': 'int', 'required': True},
    'idle': {'type': 'bool', 'default': False},
    'textfile_dir': {'type': 'path', 'required': True},
}

PLAN = {
    'id': {'type': 'str', 'required': True},
    'attempt': {'type': 'str', 'required': True},
    'packages': {'type': 'dict'},
    'archives': {'type': 'dict'},
    'others': {'type': 'dict'},
}

ROLLBACK = {
    'of': {'type': 'str', 'required': True},
    'packages': {'type': 'list', 'elements': 'dict', 'required': True},
    'failed_units': {'type': 'list', 'elements': 'str', 'required': True},
    'shown': {'type': 'list', 'elements': 'dict', 'default': []},
}

ARGUMENTS = {
    'action': {'type': 'str', 'required': True, 'choices': ACTIONS},
    'run': {'type': 'str', 'default': ''},
    'policy': {'type': 'dict', 'options': POLICY},
    'detailed': {'type': 'bool', 'default': False},
    'plan': {'type': 'dict', 'options': PLAN},
    'rollback': {'type': 'dict', 'options': ROLLBACK},
    'wait': {'type': 'int', 'default': 60},
    'look': {'type': 'bool', 'default': False},
    'record': {'type': 'bool', 'default': False},
    'success': {'type': 'bool', 'default': False},
    'held': {'type': 'bool', 'default': False},
}


def version(sources):
    """What tells two programs apart, from the texts of their modules by name of the file."""
    import hashlib      # here: a host has no need of it
    said = hashlib.sha256()
    for name, text in sorted(sources.items()):
        data = text.encode()
        said.update(b'%s %d\n' % (name.encode(), len(data)) + data)
    return said.hexdigest()
