"""The first step in which a term is active: does it teach the student anything?

A loss that falls while nothing of it reaches the student looks like a distillation that
works; a connector that learns by itself is enough for that. So each term's gradient at the
student's tapped tensor is looked at once, and what is not there is refused with the reason.
"""
import logging
from collections import Counter

import torch
from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from torch import nn

from .schedules import never_on
from .taps import find_module
from .values import leaves, map_leaves

#: Factors on the loss to try, in turn, until the gradient is finite and not zero: half
#: precision loses small gradients without a factor (which is why a GradScaler starts with
#: 2 ** 16) and overflows with one that is too large.
SCALES = (2. ** 16, 2. ** 8, 1., 2. ** 32)

#: In how many batches a loss that chooses places (``chooses_places`` in its class) may find none.
PATIENCE = 100

_FLAGS = ('with_cp', 'use_checkpoint', 'gradient_checkpointing')
_NOT_FINITE, _DETACHED, _ZERO = 'not finite', 'detached', 'zero'


def is_trained(tensor):
    """Whether ``tensor`` depends on a trainable parameter, by its autograd graph."""
    seen, left = set(), [tensor.grad_fn]
    if isinstance(tensor, nn.Parameter):
        return tensor.requires_grad
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # What a checkpointed block trains is not in the graph before it runs again.
        if isinstance(getattr(node, 'variable', None), nn.Parameter) \
                or 'CheckpointFunction' in node.name():
            return True
        left += [parent for parent, _ in node.next_functions]
    return False


def why_untrained(model, tap):
    """Why a tensor at ``tap`` depends on nothing that ``model`` trains, in words."""
    source = tap.sources[0]
    parts = source.path.split('.')
    around = [find_module(model, '.'.join(parts[:i])) for i in range(1, len(parts) + 1)]
    inside = any(getattr(module, flag, False) is True for module in around for flag in _FLAGS)
    own = [] if source.is_input else [p.requires_grad for p in around[-1].parameters()]
    if any(own):
        return ('it was computed without gradient (torch.no_grad, or inside activation '
                'checkpointing, with_cp=True); tap a module outside of that')
    if inside and not own:
        return ('it is inside activation checkpointing (with_cp=True), where no gradient can be '
                'read; tap a module outside of it')
    return ('nothing that it is computed from is trained (frozen: frozen_stages, or '
            'requires_grad=False); a connector would learn in the place of the student. Tap a '
            'later module, or train that part')


class FirstStep:
    """Looks at each term once, in the first step in which it can be seen to teach.

    Args:
        student (nn.Module): The network that the student's taps are in.
        nothing_to_teach (callable): Its library's: has this batch no annotation that counts?
    """

    def __init__(self, student, nothing_to_teach):
        self.student, self.nothing_to_teach = student, nothing_to_teach
        self.done = set()  # names of the terms that were seen to teach
        self._off = set()  # names of those that are off now and will come
        self._found_none = Counter()  # name -> batches without a place that its loss chooses

    def __call__(self, term, values, student, teacher, extras):
        """Refuse ``term`` if it teaches nothing; wait if this batch has nothing to teach.

        In several processes it is called in all of them, and all decide the same.

        Args:
            term (Term): The term.
            values (Tensor | dict): What its loss gave, before weight and schedule.
            student, teacher (Tensor | list | dict): What was tapped.
            extras (callable): name -> what losses may ask for.

        Raises:
            RuntimeError: The term puts no gradient, or none that is finite, on the student's
                tensors, or nothing that one of these tensors comes from is trained.
        """
        name, taps = term.spec.name, term.taps['student']
        taps = taps if isinstance(taps, dict) else {None: taps}
        where = (f'term {name!r} teaches the student nothing at its '
                 f"tap{'s' * (len(taps) > 1)} '" + "', '".join(map(str, taps.values())) + "': ")
        for key, tap in taps.items():
            if not all(x.requires_grad and is_trained(x)
                       for x in leaves(student if key is None else student[key])):
                raise RuntimeError(where + why_untrained(self.student, tap))
        parts = dict(values) if isinstance(values, dict) else {'': values}
        for scale in SCALES:
            found = _look(parts, leaves(student), scale)
            # A connector's SyncBN talks in the backward pass, too: none may stop earlier.
            if not any(all_gather_object(found)):
                break
        waits = found in (_DETACHED, _ZERO) and self.nothing_to_teach(
            term.wants, extras, [*leaves(student), *leaves(teacher)])
        if not waits and found == _ZERO and getattr(term.one_loss, 'chooses_places', False):
            # Objects may be too small, or too far from what the teacher predicts.
            self._found_none[name] += 1
            waits = self._found_none[name] <= PATIENCE
        reason = None if waits or found is None else _reason(found, term, parts, student, teacher)
        ranks = all_gather_object((found, reason))
        for kind, text in ranks:
            if kind == _NOT_FINITE:
                raise RuntimeError(where + text)
        if any(kind is None for kind, _ in ranks):
            self.done.add(name)
        elif all(text is not None for _, text in ranks):
            raise RuntimeError(where + ranks[0][1])

    def is_off(self, term, time):
        """Refuse a term that its schedule has off now, if it has it off in the whole training.

        Raises:
            RuntimeError: It does.
        """
        name = term.spec.name
        if name not in self._off and never_on(term.spec.schedule, time.total):
            raise RuntimeError(f'term {name!r} teaches the student nothing: its schedule, '
                               f"{dict(term.spec.cfg['schedule'])}, has it off in all "
                               f'{time.total} iterations of this training')
        self._off.add(name)


def _look(parts, tensors, scale):
    """What is wrong with the gradient of ``scale`` times the losses at ``tensors``, or None."""
    flowing = [v for v in parts.values() if isinstance(v, torch.Tensor) and v.requires_grad]
    if not flowing:
        return _DETACHED
    try:
        gradients = torch.autograd.grad(
            flowing, tensors, [torch.full_like(v, scale) for v in flowing], retain_graph=True,
            allow_unused=True)
    except RuntimeError as error:
        if 'checkpoint' not in str(error).lower():
            raise
        print_log('a term is computed inside activation checkpointing: whether it teaches the '
                  f'student cannot be seen ({error})', logger='current', level=logging.WARNING)
        return None
    if not all(torch.isfinite(v).all() for v in flowing):
        return _NOT_FINITE
    gradients = [x for x in gradients if x is not None]
    if not gradients or len(flowing) < len(parts):
        return _DETACHED
    if not all(torch.isfinite(x).all() for x in gradients):
        return _NOT_FINITE
    return None if any(x.any() for x in gradients) else _ZERO


def _reason(found, term, parts, student, teacher):
    """In words, for the person at the keyboard."""
    loss = type(term.one_loss).__name__
    if found == _NOT_FINITE:
        for side, value in (('student', student), ('teacher', teacher)):
            for tap, x in _tapped(term.taps[side], value):
                if not torch.isfinite(x).all():
                    return (f'its loss or gradient is NaN or infinite, because the {side} tap '
                            f"'{tap}' gives NaN or infinite values")
        return f'the loss or gradient of {loss} is NaN or infinite, although both taps are finite'
    if found == _DETACHED:
        constant = [key for key, v in parts.items() if key and not (
            isinstance(v, torch.Tensor) and v.requires_grad)]
        if constant and len(constant) < len(parts):
            return (f'the losses {constant} of {loss} have no gradient: are '
                    'they detached, or computed under no_grad?')
        return (f'{_who_detaches(term, student, teacher)} detaches it (detach, no_grad, or a '
                'constant loss)')
    with torch.no_grad():
        s, t = term.connect(*term.take(student, teacher))
    if [x.shape for x in leaves(s)] == [x.shape for x in leaves(t)] and all(
            torch.equal(x, y) for x, y in zip(leaves(s), leaves(t), strict=True)):
        return ('student and teacher give the same values there. Are they the same network with '
                'the same weights?')
    size = 'a map of shape ' + ', '.join(str(tuple(x.shape)) for x in leaves(s))
    return (f'the gradient of {loss} is zero everywhere on {size}: a loss '
            'that is constant there teaches nothing (a softmax over one channel or one position '
            'always is)')


def _tapped(taps, value):
    """(tap, tensor) of a side."""
    if isinstance(taps, dict):
        return [pair for name, tap in taps.items() for pair in _tapped(tap, value[name])]
    return [(taps, x) for x in leaves(value)]


def _who_detaches(term, student, teacher):
    """The connector or the loss, by trying the connector again."""
    if term.student_connector is not None:
        student, teacher = term.take(student, teacher)
        probe = map_leaves(lambda x: x.detach().requires_grad_(), student)
        connected, _ = term.connect(probe, teacher)
        flowing = [x for x in leaves(connected) if x.requires_grad]
        if not flowing or not any(g is not None for g in torch.autograd.grad(
                [x.sum() for x in flowing], leaves(probe), allow_unused=True)):
            return f'its student_connector ({type(term.student_connector).__name__})'
    return f'its loss ({type(term.one_loss).__name__})'
