"""The program as it is installed on a host: one file made of these very modules."""
import os
import sys

from .homelab_call import PROGRAM, version
from .homelab_system import write_durable


def texts():
    """The modules' texts, by name of the file."""
    import inspect      # here: it takes as long to load as all of ours
    # here, because they import us
    from . import (homelab_act, homelab_apt, homelab_call, homelab_cli, homelab_doctor, homelab_forecast, homelab_freeze,
                   homelab_lease, homelab_lists, homelab_metrics, homelab_plan, homelab_prepare, homelab_program,
                   homelab_reboot, homelab_replaced, homelab_rollback, homelab_system, homelab_timer, homelab_unit, homelab_upgrade)
    return {name + '.py': inspect.getsource(module) for name, module in dict(locals()).items() if name.startswith('homelab_')}


def program():
    """The program as one file: a zip, stored plain so that `less` shows it. Each text is there compiled as well: a third of
    what a start costs is saved. Python itself takes the text where it is another Python by now."""
    import importlib.util
    import io
    import marshal
    import zipfile
    sources = texts()
    entries = {'homelab_patch/__init__.py': stamp(version(sources)), '__main__.py':
               'import sys\nfrom homelab_patch.homelab_cli import main\nsys.exit(main(sys.argv[1:]))\n'}
    entries.update(('homelab_patch/' + name, text) for name, text in sources.items())
    data = io.BytesIO(b'')
    data.write(b'#!/usr/bin/python3\n')
    with zipfile.ZipFile(data, 'a', zipfile.ZIP_STORED) as archive:
        for name, text in sorted(entries.items()):
            archive.writestr(zipfile.ZipInfo(name), text)
            # of PEP 552, not to be checked against the text: both are of this very file
            compiled = (importlib.util.MAGIC_NUMBER + (1).to_bytes(4, 'little') + importlib.util.source_hash(text.encode())
                        + marshal.dumps(compile(text, name, 'exec', dont_inherit=True)))
            archive.writestr(zipfile.ZipInfo(name + 'c'), compiled)
    return data.getvalue()


def stamp(said):
    """The text that tells two programs apart: the version, and which Python it is compiled for."""
    return 'VERSION = %r\nCOMPILED_FOR = %r\n' % (said, sys.implementation.cache_tag)


def whole(path):
    """Whether the program that a host would get is there, undamaged."""
    import zipfile
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read('homelab_patch/__init__.py').decode() == stamp(version(texts())) and archive.testzip() is None
    except Exception:       # whatever is wrong with it, it is written anew
        return False


def install():
    """Put the program onto the host; whether that changed it. If it is the program that runs, it is there."""
    if __file__.startswith(PROGRAM + '/') and current():
        return False
    if whole(PROGRAM):
        return False
    os.makedirs(os.path.dirname(PROGRAM), mode=0o755, exist_ok=True)
    write_durable(PROGRAM, program(), 0o755)
    return True


def current():
    """Whether the program that runs is compiled for the Python that runs it."""
    from . import COMPILED_FOR      # of the zip's own making
    return COMPILED_FOR == sys.implementation.cache_tag
