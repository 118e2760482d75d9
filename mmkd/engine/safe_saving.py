"""Checkpoints that a kill cannot spoil.

mmengine writes a checkpoint straight into its final file, and with
``max_keep_ckpts`` it removes the oldest one before the new one is written: a run
killed at the wrong moment leaves half a file, or none at all.
"""
import contextlib
import os
import shutil

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook


class WholeFileBackend(LocalBackend):
    """Local files that appear only when they are complete."""

    def put(self, obj, filepath):
        """Write bytes beside ``filepath`` and move them there in one step."""
        target = os.path.realpath(filepath)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        partial = target + '.partial'
        try:
            with open(partial, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise


class PatientBackend:
    """A local backend whose removals wait until :meth:`flush`."""

    def __init__(self, backend):
        self._backend, self._waiting = backend, []

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        return getattr(self._backend, name)

    def remove(self, filepath):
        self._waiting.append((filepath, _identity(filepath)))

    rmtree = remove

    def flush(self):
        """Remove what was to be removed, unless it has been written anew since."""
        for path, identity in self._waiting:
            if _identity(path) == identity is not None:
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        self._waiting.clear()


def _identity(path):
    """Which file is at ``path`` now; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def use_whole_files():
    """Let mmengine write local files with :class:`WholeFileBackend` in this process."""
    register_backend('local', WholeFileBackend, force=True, prefixes='')


def keep_until_saved(runner):
    """Make the Runner's checkpoint hooks remove old files only in :func:`remove_old`."""
    for hook in runner.hooks:
        backend = getattr(hook, 'file_backend', None)
        if isinstance(hook, CheckpointHook) and isinstance(backend, LocalBackend):
            hook.file_backend = PatientBackend(backend)


def remove_old(runner):
    """Remove the checkpoints that newer ones have replaced."""
    for hook in runner.hooks:
        if isinstance(getattr(hook, 'file_backend', None), PatientBackend):
            hook.file_backend.flush()
