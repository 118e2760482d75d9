"""Which channels of a wide network a narrow one of the same structure starts from.

"Teacher-guided initialisation" (SparseKD, NeurIPS 2022): every layer of the student keeps some of
the channels that the teacher's norm behind it gives, and reads those that the layers before it
kept. Who reads whom is seen in a forward: the largest value of each channel, after the ReLU,
identifies what a norm gave where a later layer reads it, also on a map that was scattered, made
larger or joined with others.
"""
import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..no_trace import no_trace, twin_of
from ..values import map_leaves

#: how channels are chosen -> what of a norm's scales says which come first (None: their order)
KEEPS = dict(first=None, bn_scale=torch.abs)


class Place(NamedTuple):
    """Names of the norms whose channels a layer reads, one behind the other, and of the norm that
    reads the layer; None where that is not seen."""
    reads: tuple | None
    norm: str | None


def choose_channels(student, teacher, batch, keep):
    """For each tensor of the student that the teacher has, too, the places in the teacher's.

    Args:
        student, teacher (nn.Module): Networks whose layers are called the same.
        teacher (Teacher): The wide one.
        batch: (inputs, samples) that it runs on.
        keep (str): 'first': the first channels of every norm (the official FNAV2). 'bn_scale':
            those with the largest absolute scale.

    Returns:
        dict: key -> for each dimension a (n,) tensor of places, None for all of them.

    Raises:
        ValueError: The student is wider, or it is not seen which channels belong together.
    """
    wide = dict(teacher.model.named_modules())
    choice = _Choice(student, wide, _places(teacher, batch), keep)
    theirs, found, unclear = teacher.model.state_dict(), {}, []
    for key, value in student.state_dict().items():
        if key not in theirs:
            continue
        chosen = choice(key, value.shape, theirs[key].shape)
        if chosen is None:
            unclear.append(f'{key} ({tuple(value.shape)} in the student, '
                           f'{tuple(theirs[key].shape)} in the teacher)')
        else:
            found[key] = chosen
    if unclear or not found:
        raise ValueError(
            (f'init_student: of {len(unclear)} tensors it is not clear which channels of '
             f'{teacher.name} to keep, such as {unclear[0]}' if unclear else
             f'init_student: nothing of {teacher.name} is called as in the student')
            + '; it is for networks of one structure, the student nowhere wider, with norms behind '
            "the layers that differ" + (" (or take keep='first')" if keep != 'first' else ''))
    return found


class _Choice:

    def __init__(self, student, wide, places, keep):
        self.student, self.wide, self.places, self.keep = student, wide, places, keep

    def __call__(self, key, mine, theirs):
        name, _, _ = key.rpartition('.')
        module = self.wide[name]
        if len(mine) != len(theirs) or any(a > b for a, b in zip(mine, theirs, strict=True)):
            return None
        chosen = [None] * len(mine)
        if isinstance(module, _BatchNorm) and len(mine) == 1:
            chosen[0] = self.of_norm(name)
        elif isinstance(module, (_ConvNd, nn.Linear)) and getattr(module, 'groups', 1) == 1:
            out, into = (1, 0) if isinstance(module, _ConvTransposeNd) and len(mine) > 1 else (0, 1)
            place = self.places.get(name, Place(None, None))
            if place.norm is not None:
                chosen[out] = self.of_norm(place.norm)
            if place.reads is not None and len(mine) > 1:
                chosen[into] = self.joined(place.reads)
        return self.completed(chosen, mine, theirs)

    def completed(self, chosen, mine, theirs):
        """``chosen`` where it fits; else all of a dimension, or with 'first' its first places."""
        for i, (count, of) in enumerate(zip(mine, theirs, strict=True)):
            if chosen[i] is not None and len(chosen[i]) == count:
                continue
            if count != of and self.keep != 'first':
                return None
            chosen[i] = None if count == of else torch.arange(count)
        return tuple(chosen)

    def of_norm(self, name):
        """The places of a norm's channels that the student keeps, in order; None for a norm that
        the student lacks."""
        norm = self.wide[name]
        own = dict(self.student.named_modules()).get(name)
        count = getattr(own, 'num_features', None)
        if count is None or count > norm.num_features:
            return None
        rank = KEEPS[self.keep]
        if rank is None or count == norm.num_features or norm.weight is None:
            return torch.arange(count)
        return rank(norm.weight.detach().cpu()).topk(count).indices.sort().values

    def joined(self, names):
        """The places in the outputs of several norms, joined in this order."""
        chosen, start = [], 0
        for name in names:
            places = self.of_norm(name)
            if places is None:
                return None
            chosen.append(start + places)
            start += self.wide[name].num_features
        return torch.cat(chosen)


def _places(teacher, batch):
    """Name of a layer -> its Place, by a forward of the teacher."""
    calls = []
    with no_trace(teacher.model), torch.no_grad():
        twin = twin_of(teacher.model).eval()
        handles = [module.register_forward_hook(_note(name, calls))
                   for name, module in twin.named_modules()
                   if isinstance(module, (_ConvNd, nn.Linear, _BatchNorm))]
        try:
            teacher.library.forward(twin, map_leaves(torch.clone, batch[0]),
                                    copy.deepcopy(batch[1]))
        finally:
            for handle in handles:
                handle.remove()
    places, norms = {}, []
    for i, (name, module, given, gives) in enumerate(calls):
        if isinstance(module, _BatchNorm):
            norms.append((name, gives.clamp(min=0)))
            continue
        behind = [other for other, kind, taken, _ in calls[i + 1:]
                  if isinstance(kind, _BatchNorm) and torch.equal(taken, gives)]
        places[name] = Place(_split(given, norms), behind[0] if behind else None)
    return places


def _note(name, calls):
    def hook(module, args, output):
        axis = -1 if isinstance(module, nn.Linear) else 1
        calls.append((name, module, *(x.movedim(axis, 0).flatten(1).amax(1)
                                      for x in (args[0], output))))
    return hook


def _split(given, norms):
    """The norms whose outputs, joined, have these largest values; None if there are none."""
    names, start = [], 0
    while start < len(given):
        name, part = next(((name, part) for name, part in reversed(norms) if torch.equal(
            part, given[start:start + len(part)])), (None, None))
        if name is None:
            return None
        names.append(name)
        start += len(part)
    return tuple(names)
