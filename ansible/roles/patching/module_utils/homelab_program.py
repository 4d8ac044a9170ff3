"""The program as it is installed on a host: one file made of these very modules."""
import inspect
import io
import os
import zipfile

from .homelab_call import PROGRAM, version
from .homelab_system import write_durable


def texts():
    """The modules' texts, by name of the file."""
    # here, because they import us
    from . import (homelab_act, homelab_apt, homelab_call, homelab_cli, homelab_doctor, homelab_forecast, homelab_freeze,
                   homelab_health, homelab_lease, homelab_lists, homelab_metrics, homelab_plan, homelab_prepare, homelab_program,
                   homelab_reboot, homelab_replaced, homelab_rollback, homelab_system, homelab_timer, homelab_unit, homelab_upgrade)
    modules = (homelab_act, homelab_apt, homelab_call, homelab_cli, homelab_doctor, homelab_forecast, homelab_freeze,
               homelab_health, homelab_lease, homelab_lists, homelab_metrics, homelab_plan, homelab_prepare, homelab_program,
               homelab_reboot, homelab_replaced, homelab_rollback, homelab_system, homelab_timer, homelab_unit, homelab_upgrade)
    return {m.__name__.rpartition('.')[2] + '.py': inspect.getsource(m) for m in modules}


def program():
    """The program as one file: a zip, stored plain so that `less` shows it."""
    sources = texts()
    entries = {'homelab_patch/__init__.py': 'VERSION = %r\n' % version(sources), '__main__.py':
               'import sys\nfrom homelab_patch.homelab_cli import main\nsys.exit(main(sys.argv[1:]))\n'}
    entries.update(('homelab_patch/' + name, text) for name, text in sources.items())
    data = io.BytesIO(b'')
    data.write(b'#!/usr/bin/python3\n')
    with zipfile.ZipFile(data, 'a', zipfile.ZIP_STORED) as archive:
        for name, text in sorted(entries.items()):
            archive.writestr(zipfile.ZipInfo(name), text)
    return data.getvalue()


def install():
    """Put the program onto the host; whether that changed it."""
    data = program()
    try:
        with open(PROGRAM, 'rb') as f:
            if f.read() == data:
                return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(PROGRAM), mode=0o755, exist_ok=True)
    write_durable(PROGRAM, data, 0o755)
    return True
