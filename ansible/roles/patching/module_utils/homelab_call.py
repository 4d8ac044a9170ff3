"""What controller and host agree on when the role asks the installed program for an action. It imports nothing of ours: the
controller loads it as well."""

PROGRAM = '/usr/local/lib/homelab-patch/homelab-patch'
# How the role asks it, in a shell. Not by the path of the program: needrestart would read what we and all that we import import
# while we wait for it, which takes as long as all of its other work. -S: we need nothing of site-packages, and do not look there.
COMMAND = ("/usr/bin/python3 -IS -c 'import sys; sys.path.insert(0, \"%s\"); "
           "from homelab_patch.homelab_cli import main; sys.exit(main(sys.argv[1:]))' call" % PROGRAM)
# Of `call`: we are another version than the one that is asked for. EX_PROTOCOL of sysexits.h.
OTHER_VERSION = 76
# Before the answer, because a login shell may print as well.
ANSWER = 'homelab-patch-answer '
# On standard error, before anything is done: a link that is lost from here on was lost to a host that had answered.
BEGUN = 'homelab-patch-begun'

# Units of ours on a host.
UNIT = 'homelab-patch.service'
PREPARE_UNIT = 'homelab-patch-prepare.service'
PULL = 'homelab-ansible-pull.service'
# They end by themselves: whether they run old code, or failed, says nothing about the host.
OURS = (UNIT, PREPARE_UNIT, PULL, 'homelab-patch-prom.service', 'homelab-patch-notify.service', 'homelab-patch-orchestrate.service',
        'homelab-patch-orchestrate-resume.service')

# What an answer may have. Ansible acts on names of its own in a result, such as add_host: no host is to say those.
SAYS = ('changed', 'failed', 'failure', 'msg', 'skipped', 'warnings', 'state', 'progress', 'result', 'begun', 'restarted', 'recorded',
        'homelab_doctor')

ACTIONS = ['look', 'plan', 'prepare', 'upgrade', 'settle', 'record', 'doctor']

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

# In a shell: systemd's state, and the units that have failed, each with since when. Without pipelining it is on a terminal, where
# systemctl would have a pager print it, and wait for a key.
HEALTH = ("systemctl show --no-pager --property=SystemState && "
          "systemctl show --no-pager --timestamp=unix --property=Id,StateChangeTimestamp --state=failed '*'")
ASKED = ('SystemState', 'Id', 'StateChangeTimestamp')


def read_health(code, out, err):
    """What HEALTH has said, version 1: systemd's state, and its failed units, ours left out, each with the Unix time since when (0:
    not known). And '', or why that is not known: no answer is not a good one."""
    blocks, words = [{}], err.strip()
    for line in out.splitlines():
        name, equals, value = line.partition('=')
        if not line:
            blocks.append({})
        elif not equals or name not in ASKED:
            words = words or line.strip()       # on a terminal this is what went wrong
        elif name in blocks[-1] or not value.isprintable():
            return {}, 'what systemd answers cannot be read: %r' % line[:100]
        else:
            blocks[-1][name] = value
    state = next((block['SystemState'] for block in blocks if 'SystemState' in block), '')
    if code != 0 or not state:
        return {}, 'systemd does not answer: %s' % (words or 'exit code %d' % code)
    since = {block['Id']: block.get('StateChangeTimestamp', '')[1:] for block in blocks if 'Id' in block}     # @1793534531
    return {'version': 1, 'state': state, 'failed_units': [
        {'name': name, 'since': int(since[name]) if since[name].isdigit() else 0} for name in sorted(set(since) - set(OURS))]}, ''


def version(sources):
    """What tells two programs apart, from the texts of their modules by name of the file."""
    import hashlib      # here: a host has no need of it
    said = hashlib.sha256()
    for name, text in sorted(sources.items()):
        data = text.encode()
        said.update(b'%s %d\n' % (name.encode(), len(data)) + data)
    return said.hexdigest()
