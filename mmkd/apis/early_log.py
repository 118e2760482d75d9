"""What is logged before the Runner has its log comes after the Runner's dump of the config.

Reading configs, finding the checkpoint to go on from and building the model all have
something to say; above 350 lines of config nobody would see it, and without the Runner no
file would keep it.
"""
import logging
import sys

from mmengine.logging import MMLogger

_kept = []


class _Keeper(logging.Handler):
    def emit(self, record):
        _kept.append(record)


def keep_log():
    """Keep what is logged from now on, until a Runner's log takes over."""
    _kept.clear()
    logger = MMLogger.get_instance('mmkd')
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = [_Keeper()]


def pass_on_log(logger):
    """Log what was kept."""
    for record in _kept:
        logger.handle(record)
    _kept.clear()


def show_kept_warnings():
    """Print the warnings that were kept, because no Runner will come."""
    for record in _kept:
        if record.levelno >= logging.WARNING:
            print(record.getMessage(), file=sys.stderr)
    _kept.clear()
