"""Lets mmengine load checkpoints through :func:`~mmkd.utils.checkpoint.safe_load`."""
import functools
from unittest import mock

from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from .checkpoint import load_checkpoint_file

#: names of published weights, which mmengine turns into addresses
_ZOOS = {('open-mmlab://', 'openmmlab://'): mmengine_checkpoint.load_from_openmmlab,
         ('torchvision://', 'modelzoo://'): mmengine_checkpoint.load_from_torchvision,
         ('mmcls://',): mmengine_checkpoint.load_from_mmcls}


def load_from_file_or_address(filename, map_location=None, **kwargs):
    """What mmengine calls with a path or an http(s) address."""
    return load_checkpoint_file(filename, map_location)


def _load_from_zoo(stock, filename, map_location=None):
    # The stock loader finds the address and would unpickle fully what it downloads.
    with mock.patch.object(mmengine_checkpoint, 'load_from_http', load_from_file_or_address):
        return stock(filename, map_location)


def use_safe_loading():
    """Make every checkpoint that mmengine loads in this process go through ``safe_load``.

    mmengine's own loader cannot read what mmengine's own Runner writes on torch >= 2.6,
    and unpickles fully what it downloads.
    """
    CheckpointLoader.register_scheme(prefixes=['', 'http://', 'https://'],
                                     loader=load_from_file_or_address, force=True)
    for prefixes, stock in _ZOOS.items():
        loader = functools.partial(_load_from_zoo, stock)
        loader.__name__ = stock.__name__  # mmengine logs it
        CheckpointLoader.register_scheme(prefixes=prefixes, loader=loader, force=True)
