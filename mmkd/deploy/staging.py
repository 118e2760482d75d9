"""A folder whose files appear all at once, when they are whole and checked."""
import contextlib
import errno
import os
import shutil
import tempfile

from ..apis import check_writable

#: what the system says where there is no room: disk, quota, file size
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def staging(out, option='--out', earlier=()):
    """A temporary folder beside ``out``; what lies in it in the end is moved into ``out``.

    After an error nothing in ``out`` has changed and the temporary folder is gone. A file or folder
    whose name begins with a dot stays behind.

    Args:
        out (str): The final folder; made if it is not there.
        option (str): The option that names another, for the message.
        earlier (iterable of str): Names of files in ``out`` that go, unless they are replaced.

    Raises:
        ValueError: ``out`` cannot be written.
        OSError: There is no room.
    """
    out = os.path.abspath(out)
    check_writable(out, option)
    if os.path.exists(out) and not os.path.isdir(out):
        raise ValueError(f'{out!r} is a file; choose a folder with {option}')
    parent = os.path.dirname(out)
    os.makedirs(parent, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=f'.{os.path.basename(out)}.', dir=parent)
    try:
        yield folder
        os.makedirs(out, exist_ok=True)
        names = [name for name in sorted(os.listdir(folder)) if not name.startswith('.')]
        for name in names:
            os.replace(os.path.join(folder, name), os.path.join(out, name))
        for name in set(earlier) - set(names):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(out, name))
    except Exception as error:
        if is_full(error, folder):
            raise OSError(f'no room for the export in {parent!r} ({error}); nothing was written. '
                          f'Make room, or choose another folder with {option}') from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_full(error, folder):
    """Is a full disk, or what led to it, the reason of ``error``?"""
    seen = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    # C++ writers say what failed, not why.
    return isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2 ** 16
