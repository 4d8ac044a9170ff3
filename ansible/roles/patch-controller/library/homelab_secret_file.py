#!/usr/bin/python
"""Writes a file that nobody but its owner reads, and no other file on the way. This is the face to Ansible."""
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.homelab_secret import current, piped, write

DOCUMENTATION = r'''
module: homelab_secret_file
short_description: Writes a secret to one file, of mode 0600, and to no other
description:
  - The modules C(copy) and C(template) leave what they write in files of their own on the way, in C(~/.ansible/tmp) on both
    ends of a connection. This one takes it from its arguments. With C(ansible_pipelining) these come by standard input.
  - The new file is made beside the old one, of mode 0600 from its first byte, and then takes its place.
options:
  path:
    description: The file. Its folder has to be there. A link in its place is replaced, not followed.
    type: path
    required: true
  content:
    description:
      - All of the file. Without it nothing is written, and I(piped) in the result says whether arguments come by standard
        input here. Where they do not, Ansible has already written them to a file by the time that a module begins.
    type: str
  owner:
    description: The user whose file it is; the group is that user's own.
    type: str
    default: root
'''


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        'path': {'type': 'path', 'required': True},
        'content': {'type': 'str', 'no_log': True},
        'owner': {'type': 'str', 'default': 'root'},
    })
    path, content, owner = (module.params[name] for name in ('path', 'content', 'owner'))
    if content is None:
        module.exit_json(changed=False, piped=piped())
    try:
        user = pwd.getpwnam(owner)
    except KeyError:
        module.fail_json(msg='%s: there is no user %s' % (path, owner))
    data = content.encode()
    try:
        changed = current(path) != (data, user.pw_uid, user.pw_gid, 0o600)
        if changed and not module.check_mode:
            write(path, data, user.pw_uid, user.pw_gid)
    except OSError as e:
        module.fail_json(msg='%s: %s' % (e.filename or path, e.strerror or e))
    module.exit_json(changed=changed)


if __name__ == '__main__':
    main()
