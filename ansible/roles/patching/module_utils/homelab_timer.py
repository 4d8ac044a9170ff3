"""The host's units that have patch.prom written anew, at boot and every hour, by the program that the role installs.

Their text is here and not among the role's files: the module puts them there in a task that the role has anyway.
"""
import json
import os

from .homelab_call import PROGRAM
from .homelab_system import has_systemd, read_text, run, write_durable

UNITS = '/etc/systemd/system'
SERVICE, TIMER = 'homelab-patch-prom.service', 'homelab-patch-prom.timer'
ENABLED = ('multi-user.target.wants/' + SERVICE, 'timers.target.wants/' + TIMER)

HEAD = '# Written by the role patching of homelab-patch-orchestrate. Changes belong into `systemctl edit`.\n'

SERVICE_TEXT = HEAD + '''
[Unit]
Description=homelab-patch: write patch.prom anew
After=local-fs.target
RequiresMountsFor={folder}

[Service]
# Not oneshot: a boot counts as `starting` until a oneshot has ended, and a restart is judged when it no longer does.
Type=exec
ExecStart=:/usr/bin/python3 -IS {program} metrics --textfile-dir {folder}
SyslogIdentifier=homelab-patch-prom
# It prints warnings alone, and each start of it is no news.
SyslogLevel=warning
LogLevelMax=notice
RuntimeMaxSec=600
Nice=19
IOSchedulingClass=idle

# It writes two folders. needrestart compares what processes have loaded with the files on the disk: it must see all of
# both. So nothing here hides a file or a process (PrivateTmp, PrivateDevices, ProtectHome=yes, ProtectKernelModules).
# No sockets but local ones is no network; PrivateNetwork=yes would warn in the journal of each container, each time.
ProtectSystem=strict
ProtectHome=read-only
StateDirectory=homelab-patch
StateDirectoryMode=0700
ReadWritePaths={optional}
RestrictAddressFamilies=AF_UNIX
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_SYS_PTRACE
NoNewPrivileges=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
'''

TIMER_TEXT = HEAD + '''
[Unit]
Description=homelab-patch: write patch.prom every hour

[Timer]
# An hour apart on each host, and at another minute on each. What was missed while the host was off, the boot makes up for.
OnCalendar=hourly
RandomizedDelaySec=10min
FixedRandomDelay=yes
AccuracySec=1min

[Install]
WantedBy=timers.target
'''


def quoted(path):
    """A path as systemd reads it back: in quotes, with C's escapes, and % doubled."""
    return json.dumps(path, ensure_ascii=False).replace('%', '%%')


def texts(textfile_dir):
    """The units by name. A folder that is missing is the program's to warn of: systemd only leaves it out."""
    return {SERVICE: SERVICE_TEXT.format(program=PROGRAM, folder=quoted(textfile_dir), optional=quoted('-' + textfile_dir)),
            TIMER: TIMER_TEXT}


def install(textfile_dir):
    """Put the units there, enabled; (whether that changed the host, a warning or '').

    Where all is as it should be this reads two files and starts no program. A unit that is a link was masked by
    somebody who does not want it, and is left alone. Nothing that goes wrong here fails a host that was patched.
    """
    wanted = {os.path.join(UNITS, name): text for name, text in texts(textfile_dir).items()}
    if not has_systemd() or any(os.path.islink(path) for path in wanted):
        return False, ''
    try:
        other = [path for path, text in wanted.items() if read_text(path) != text]
        for path in other:
            write_durable(path, wanted[path].encode(), 0o644)
    except OSError as e:
        return False, 'patch.prom is written by runs alone: %s: %s' % (e.filename or UNITS, e.strerror or e)
    if not other and all(os.path.lexists(os.path.join(UNITS, link)) for link in ENABLED):
        return False, ''
    for argv in (['daemon-reload'], ['enable', '--quiet', SERVICE, TIMER], ['restart', TIMER]):
        done = run(['systemctl'] + argv, timeout=60)
        if done.returncode != 0:
            return True, 'patch.prom is written by runs alone: systemctl %s: %s' % (
                ' '.join(argv), done.stderr.strip() or 'exit code %d' % done.returncode)
    return True, ''
