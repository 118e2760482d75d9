"""How hard each term of a distillation pulls at the student, next to the student's own task."""
import copy
import math
import statistics
from dataclasses import dataclass
from unittest import mock

import torch
from torch.utils import checkpoint

from ..models.schedules import now

#: what the student's own losses together are called; no term can have this name
TASK = 'task loss'


def measure(model, batches, ratio=1.):
    """Losses and gradients of a distiller's terms at its present weights.

    One forward per batch, as a training step does it but in float32; then one gradient per
    loss, at the student's parameters that train (connectors have none of it). The model is
    afterwards as before, to its buffers; random numbers are drawn.

    Args:
        model (OfflineDistiller): On the device it trains on.
        batches (iterable): What a train data loader gives. Left as they are.
        ratio (float): Which ratio the suggested weights would bring.

    Returns:
        dict: ``batches`` (how many), ``reference`` (what ratios and cosines are relative to:
        'task loss' or, for a student without a loss of its own, the first term that is on) and
        ``rows``, name -> dict. A figure is dict(mean=, std=) over the batches, or None where
        it is not defined:

        - ``loss``, ``weighted``: the loss before and after weight and schedule.
        - ``gradient``: norm of the weighted loss's gradient.
        - ``ratio``, ``cosine``: that gradient against the reference's. Batches in which the
          reference has none are left out.
        - ``groups``: child of the student -> ratio there.
        - ``weight``, ``schedule``: as configured, and the schedule's factor now.
        - ``suggested``: the weight that brings the mean ratio to ``ratio``. None for the
          task and the reference, for a part of a term (a term has one weight), where no
          gradient arrives, and where the schedule has the term off.

    Raises:
        ValueError: There is no batch, no loss, or a loss or gradient is not finite.
    """
    state, was_training = copy.deepcopy(model.state_dict()), model.training
    factors = {name: term.spec.schedule(now()) for name, term in model.distiller.items()}
    pulls = []
    try:
        model.train()
        parameters = {name: p for name, p in model.named_parameters()
                      if p.requires_grad and not name.startswith('distiller.')}
        for number, batch in enumerate(batches, 1):
            losses, levels = _losses(model, copy.deepcopy(batch))
            reference = TASK if TASK in losses else next(
                (name for name, factor in factors.items() if factor), None)
            if reference is None:
                raise ValueError('there is nothing to weigh: the student has no loss of its own '
                                 'here, and the schedules have every term off')
            pulls.append(_pulls(losses, levels, reference, parameters, number))
    finally:
        model.load_state_dict(state)
        model.train(was_training)
    if not pulls:
        raise ValueError('the training data give no batch: are there fewer pictures than '
                         'batch_size, with drop_last=True?')
    rows = {}
    for name in pulls[0]:
        owner = name.partition('.')[0]
        row = rows[name] = _row([pull[name] for pull in pulls],
                                [pull[reference] for pull in pulls])
        if name == TASK:
            continue
        factor, weight = factors[owner], model.distiller[owner].spec.weight
        row.update(weight=weight, schedule=factor)
        if factor == 0:
            row.update(dict.fromkeys(('loss', 'ratio', 'cosine', 'gradient')), groups={})
            continue
        row['loss'] = {key: value / (weight * factor) for key, value in row['weighted'].items()}
        if weight * factor < 0:
            row['loss']['std'] *= -1
        if name == owner and name != reference and row['ratio'] and row['ratio']['mean'] > 0:
            row['suggested'] = weight * ratio / row['ratio']['mean']
    return dict(batches=len(pulls), reference=reference, rows=rows)


def _losses(model, batch):
    """Of one training step's forward: 'task loss' and each term -> {key: weighted scalar}, and
    each term of a pyramid -> {'stride 8': weighted scalar}."""
    given = {}
    pyramids = {name: term for name, term in model.distiller.items()
                if getattr(term, 'by_level', False)}
    for term in pyramids.values():
        term.level_values = []
    handles = [term.register_forward_hook(
        lambda _, __, values, name=name: given.__setitem__(name, dict(values)))
        for name, term in model.distiller.items()]
    try:
        with mock.patch('torch.utils.checkpoint.checkpoint', _without_reentry):
            losses = model._run_forward(model.data_preprocessor(batch, True), mode='loss')
    finally:
        for handle in handles:
            handle.remove()
        levels = {name: _by_stride(term) for name, term in pyramids.items()}
    keys = {key for values in given.values() for key in values}
    task, _ = model.parse_losses({key: value for key, value in losses.items()
                                  if key not in keys})
    if isinstance(task, torch.Tensor) and task.requires_grad:
        return {TASK: {TASK: task}, **given}, levels
    return given, levels


def _called(stride):
    """Pixels, or of maps seen from above the metres of a cell."""
    return f'cells of {stride:g} m' if isinstance(stride, float) else f'stride {stride}'


_checkpoint = checkpoint.checkpoint


def _without_reentry(function, *args, **kwargs):
    """Activation checkpointing (with_cp=True) of the kind that gradients can be asked of."""
    return _checkpoint(function, *args, **{**kwargs, 'use_reentrant': False})


def _by_stride(term):
    """{'stride 8': weighted sum of what the loss gave there}; forgets the values."""
    values, term.level_values = term.level_values, None
    strides, factor = term.pairing.strides, term.factor(now())
    return {_called(stride) + (f' ({i})' if strides.count(stride) > 1 else ''):
            factor * sum(value.values() if isinstance(value, dict) else [value])
            for i, (stride, value) in enumerate(zip(strides, values, strict=False))}


@dataclass
class Pull:
    """One loss in one batch: its value and, for each group of parameters, the squared norm of
    its gradient and the product with the reference's gradient."""
    value: float
    squares: dict
    dots: dict


def _pulls(losses, levels, reference, parameters, number):
    """name -> Pull of the task, of each term, and of the parts of a term that has several."""
    groups = [name.partition('.')[0] for name in parameters]
    target = _gradient(sum(losses[reference].values()), parameters)
    pulls = {}
    for name, values in losses.items():
        parts = {f"{name}.{key.removeprefix(f'loss_{name}_')}": value
                 for key, value in values.items()} if len(values) > 1 else {}
        parts.update((f'{name}.{level}', value) for level, value in levels.get(name, {}).items())
        for label, value in {name: sum(values.values()), **parts}.items():
            grads = target if label == reference else _gradient(value, parameters)
            pull = Pull(float(value.detach()), dict.fromkeys(groups, 0.), dict.fromkeys(groups, 0.))
            for group, own, other in zip(groups, grads, target, strict=True):
                pull.squares[group] += float(own.double().square().sum())
                pull.dots[group] += float((own.double() * other.double()).sum())
            for what, figure in (('loss', pull.value), ('gradient', sum(pull.squares.values()))):
                if not math.isfinite(figure):
                    raise ValueError(f"{'the ' if label == TASK else 'term '}{label!r}: the "
                                     f'{what} is not finite in batch {number}')
            pulls[label] = pull
    return pulls


def _gradient(loss, parameters):
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in parameters.values()]
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True,
                                allow_unused=True)
    return [torch.zeros_like(p) if grad is None else grad
            for grad, p in zip(found, parameters.values(), strict=True)]


def _row(pulls, references):
    """The figures of one loss over all batches."""
    norms = [math.sqrt(sum(pull.squares.values())) for pull in pulls]
    targets = [math.sqrt(sum(pull.squares.values())) for pull in references]
    pairs = [(pull, own, other) for pull, own, other in zip(pulls, norms, targets, strict=True)
             if other > 0]
    groups = {}
    for group in pulls[0].squares:
        groups[group] = _figure([math.sqrt(pull.squares[group] / ref.squares[group])
                                 for pull, ref in zip(pulls, references, strict=True)
                                 if ref.squares[group] > 0])
    return dict(
        weight=None, schedule=None, loss=_figure([pull.value for pull in pulls]),
        weighted=_figure([pull.value for pull in pulls]), gradient=_figure(norms),
        ratio=_figure([own / other for _, own, other in pairs]),
        cosine=_figure([sum(pull.dots.values()) / (own * other) for pull, own, other in pairs
                        if own > 0]),
        groups=groups, suggested=None)


def _figure(values):
    if not values:
        return None
    return dict(mean=statistics.fmean(values),
                std=statistics.stdev(values) if len(values) > 1 else 0.)
