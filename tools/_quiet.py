"""Keeps OpenMMLab's notes to its own developers out of the tools' output, and Ctrl-C short.

Imported before mmengine, which warns while it is imported and takes its time.
"""
import os
import sys
import warnings

for _message in ('pkg_resources is deprecated', '``build_', 'Default ``avg_non_ignore``',
                 'The draw is False'):
    warnings.filterwarnings('ignore', message=_message)


def interrupted(error):
    """Say in one line what an interruption leaves behind, and leave with Ctrl-C's exit code."""
    print(f'\ninterrupted: {error}' if str(error) else '\ninterrupted', file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130)  # at once: no process group or data loader is waited for


def _hook(kind, error, trace, usual=sys.excepthook):
    interrupted(error) if issubclass(kind, KeyboardInterrupt) else usual(kind, error, trace)


sys.excepthook = _hook
