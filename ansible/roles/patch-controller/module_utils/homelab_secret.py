"""A file that nobody but its owner reads, and how Ansible hands over what belongs into it."""
import contextlib
import os
import stat


def piped():
    """Whether Ansible gave this module to Python by standard input: then neither it nor its arguments are in a file."""
    with open('/proc/self/cmdline', 'rb') as f:
        return b'AnsiballZ_' not in f.read()


def current(path):
    """What is at the path: (bytes, uid, gid, mode) of a regular file, else None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, 'rb') as f:
        status = os.fstat(f.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        return f.read(), status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def write(path, data, uid, gid):
    """Put a new file in the place of the old one. A power cut leaves the one or the other."""
    folder = os.path.dirname(path)
    # always the same name: what a killed one has left is gone with the next
    new = os.path.join(folder, '.%s.new' % os.path.basename(path))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, 'wb') as f:
            os.fchown(fd, uid, gid)
            os.fchmod(fd, 0o600)
            f.write(data)
            f.flush()
            os.fsync(fd)
        os.rename(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
