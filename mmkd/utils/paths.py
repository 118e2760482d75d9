"""Paths of the user's: where they are looked for, and what to say when nothing is there, or
nothing can be written there."""
import os
import tempfile

from .hints import did_you_mean

#: relative path -> the folders in which it was looked for, for the message
_SEARCHED = {}


def search(path, folders):
    """``path`` made absolute in the first of ``folders`` that has it, or as it is.

    The folders are remembered for :func:`does_not_exist`.
    """
    path = os.path.expanduser(path)
    if os.path.isabs(path):
        return path
    for folder in folders:
        if os.path.exists(os.path.join(folder, path)):
            return os.path.abspath(os.path.join(folder, path))
    _SEARCHED[path] = list(dict.fromkeys(map(os.path.abspath, folders)))
    return path


def does_not_exist(path, suffix=''):
    """'... does not exist', what is near it, and where it was looked for.

    Args:
        path (str): The path that the user wrote.
        suffix (str): Only files that end so are near ones.
    """
    if os.path.isdir(path):
        inside = [file for file in sorted(os.listdir(path)) if file.endswith(suffix)]
        return f"{path!r} is a folder; give a file (in it: {', '.join(inside[:8]) or 'none'})"
    folder, name = os.path.split(path)
    folders = [os.path.normpath(os.path.join(root, folder))
               for root in _SEARCHED.get(path, [os.getcwd()])]
    there = [root for root in folders if os.path.isdir(root)]
    near = [file for root in there for file in sorted(os.listdir(root)) if file.endswith(suffix)]
    text = f'{path!r} does not exist{did_you_mean(name, near)}'
    if not there:
        text += f' (nor does the folder {folder!r})'
    if not os.path.isabs(path):
        text += (f" (looked in {' and '.join(folders)}; in a config, '{{{{ fileDirname }}}}/' "
                 'stands for its own folder)')
    return text


def check_writable(folder, option):
    """Raise ValueError if ``folder`` cannot be made or written; ``option`` chooses another."""
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        text = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(f'{folder!r} cannot be written ({text}: {there!r}); choose another '
                         f'folder with {option}') from error
