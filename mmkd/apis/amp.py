"""Mixed precision: the optim wrapper of a config, as the command line and the machine want it."""
from mmengine.device import get_device
from mmengine.logging import print_log

from ..utils.configs import type_name


def use_amp(cfg):
    """Train with mixed precision.

    Raises:
        ValueError: The config's optim wrapper is of a kind that has none.
    """
    for wrapper in _wrappers(cfg.optim_wrapper):
        kind = type_name(wrapper, 'OptimWrapper')
        if kind == 'OptimWrapper':
            wrapper['type'] = 'AmpOptimWrapper'
            if wrapper.get('loss_scale') is None:
                wrapper['loss_scale'] = 'dynamic'
        elif kind not in ('AmpOptimWrapper', 'Bfloat16OptimWrapper'):
            raise ValueError(f"--amp: optim_wrapper.type is {kind!r}; only an 'OptimWrapper' can "
                             'be made one for mixed precision')


def use_cpu_amp(cfg):
    """Mixed precision in bfloat16 where there is no accelerator, on which mmengine's insists."""
    if get_device() != 'cpu' or cfg.get('optim_wrapper') is None:
        return
    for wrapper in _wrappers(cfg.optim_wrapper):
        if type_name(wrapper) == 'AmpOptimWrapper':
            for key in ('loss_scale', 'dtype', 'use_fsdp'):
                wrapper.pop(key, None)
            wrapper['type'] = 'mmkd.Bfloat16OptimWrapper'
            print_log('mixed precision on a CPU: bfloat16 autocast, without loss scaling',
                      logger='current')


def use_stock_amp(cfg):
    """The counterpart of :func:`use_cpu_amp`, for a config that needs nothing of mmkd."""
    for wrapper in _wrappers(cfg.get('optim_wrapper') or {}):
        if type_name(wrapper) == 'Bfloat16OptimWrapper':
            wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')


def _wrappers(cfg):
    """The dicts of one optim wrapper, or of several by name."""
    if 'optimizer' in cfg or not any(isinstance(value, dict) for value in cfg.values()):
        return [cfg]
    return [value for value in cfg.values() if isinstance(value, dict) and 'optimizer' in value]
