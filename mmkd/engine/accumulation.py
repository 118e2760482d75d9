"""Gradients that are still being accumulated when a checkpoint is written.

With ``accumulative_counts=3`` the optimizer steps after iterations 3, 6, 9, ...; a
checkpoint at iteration 4 comes when one gradient of the next window is there. It is
part of the checkpoint.
"""
import logging

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log


def share_gradients(runner):
    """Average what the ranks have accumulated, so that what rank 0 saves is every rank's.

    DDP does not exchange gradients inside a window. The mean of the ranks, on every rank,
    gives the same step at the window's end. To be called on all ranks.
    """
    if get_world_size() == 1:
        return
    parameters = list(_bare(runner.model).parameters())
    if not parameters:
        return
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32,
                         device=parameters[0].device)
    all_reduce(there, 'max')  # a gradient that one rank has is waited for on all
    for parameter, one_has in zip(parameters, there.tolist(), strict=True):
        if one_has:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            all_reduce(parameter.grad, 'mean')


def accumulated(runner):
    """The gradients of a window that has begun, as plain data; None between two windows."""
    gradients = {name: parameter.grad.detach().cpu().clone()
                 for name, parameter in _bare(runner.model).named_parameters()
                 if parameter.grad is not None}
    return dict(counts=_counts(runner.optim_wrapper), gradients=gradients) if gradients else None


def restore_accumulated(runner, saved):
    """Put the gradients back that :func:`accumulated` gave.

    Gradients of windows of another length are of no use, since each is divided by the
    length of its window: they are dropped, with a warning.
    """
    counts = _counts(runner.optim_wrapper)
    if saved['counts'] != counts:
        print_log(
            f"the checkpoint was written inside a window of accumulative_counts={saved['counts']},"
            f' and this run accumulates {counts}: what was accumulated is dropped. To lose '
            "nothing, resume at the end of a window, or with the checkpoint's number",
            logger='current', level=logging.WARNING)
        return
    for name, parameter in _bare(runner.model).named_parameters():
        if name in saved['gradients']:
            parameter.grad = saved['gradients'][name].to(parameter.device, parameter.dtype)
    print_log('the gradients that were accumulated when the checkpoint was written are restored: '
              'nothing is lost', logger='current')


def _counts(wrapper):
    """accumulative_counts of one optim wrapper, or by name of several."""
    wrappers = getattr(wrapper, 'optim_wrappers', None)
    if wrappers is not None:
        return {name: one._accumulative_counts for name, one in wrappers.items()}
    return getattr(wrapper, '_accumulative_counts', 1)


def _bare(model):
    return getattr(model, 'module', model)
