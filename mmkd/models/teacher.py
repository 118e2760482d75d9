"""The teacher: a frozen network that is no part of the student's module tree.

Held in a plain object, so no key of it is in a checkpoint, no parameter of it
is in DDP, the optimizer or the EMA copy, and ``train()`` cannot reach it.
"""
import contextlib
import copy
import logging

import torch
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from ..utils.checkpoint import load_checkpoint_file
from ..utils.configs import load_model_config, teachers_of
from ..utils.hints import refuse_unknown
from ..utils.weights import (
    as_held_by,
    completed,
    in_front,
    not_finite,
    of_more_parts,
    students_weights,
)
from .libraries import build_network, library_of
from .mistakes import Mistakes
from .recorder import AllTapsRead, Recorder
from .values import leaves, map_leaves

_KEYS = ('config', 'checkpoint', 'allow_random', 'trust_checkpoint', 'prune', 'dtype')
_DTYPES = dict(bf16=torch.bfloat16, fp16=torch.float16)


class Teacher:
    """A frozen network with its weights.

    Args:
        config (str | dict): Path, a library's name (``mmdet::...``), or dict of the teacher.
        checkpoint (str, optional): File or address of its weights.
        allow_random (bool): Accept a teacher without weights (tests, trials).
        trust_checkpoint (bool): Unpickle the checkpoint fully.
        prune (bool): Stop the forward when every tap has fired. Exact.
        dtype (str, optional): 'bf16' or 'fp16': run the teacher under autocast
            and channels_last. Inexact (bf16: logits off by about 1 %), faster.

    Raises:
        ValueError: No weights, weights that do not fit, or anything else; all that is wrong.
        FileNotFoundError: Config or checkpoint does not exist.
    """

    def __init__(self, name, config, checkpoint=None, allow_random=False,
                 trust_checkpoint=False, prune=True, dtype=None):
        mistakes = Mistakes()
        if dtype not in (None, *_DTYPES):
            mistakes.add(f'{name}: dtype {dtype!r} is none of None, '
                         + ', '.join(map(repr, _DTYPES)))
        if checkpoint is None and not allow_random:
            mistakes.add(
                f'{name} has no weights: set checkpoint= to a file or an address (a random '
                'teacher teaches noise; for a trial run, set allow_random=True)')
        self.name, self.checkpoint, self.prune, self.dtype = name, checkpoint, prune, dtype
        self.model = mistakes.catch('', build_model, config, name)
        state = None if checkpoint is None else mistakes.catch(
            '', read_weights, checkpoint, name, trust_checkpoint)
        if self.model is not None and state is not None:
            mistakes.catch('', fit_weights, self.model, state, checkpoint, name)
        mistakes.raise_any()
        self.model.eval()  # returns None for detectors that mmdet itself distils (LD, LAD)
        self.model.requires_grad_(False)
        if dtype is not None:
            self.model.to(memory_format=torch.channels_last)
        self.own_inputs = False  # set by the distiller: preprocessing differs from the student's
        self.counts = {}  # how often each source fires, from the dry run
        self.clone = set()

    @property
    def library(self):  # not kept: a module cannot be pickled
        return library_of(self.model)

    @property
    def reads(self):
        """The modalities that it looks at: 'imgs', 'points', or both."""
        of = getattr(self.library, 'reads', None)
        return ('imgs',) if of is None else of(self.model)

    def __str__(self):
        count = sum(parameter.numel() for parameter in self.model.parameters())
        weights = f'weights from {self.checkpoint}' if self.checkpoint else 'random weights'
        inputs = ('its own inputs (another normalisation or other voxels than the student)'
                  if self.own_inputs else "the student's inputs")
        return (f'{self.name}: {type(self.model).__name__}, {weights}, {count:,} parameters, '
                f"{inputs}, {self.dtype or 'exact'}")

    def __deepcopy__(self, memo):
        # EMA and friends copy the distiller; they must not copy its teacher.
        return self

    @torch.no_grad()
    def read(self, inputs, data_samples, shared=None):
        """Run the teacher and return {source: values by call} of its taps.

        ``shared``: what the student gives its forward, by name (see ``libraries``).
        """
        model, sources = self.model, list(self.counts)
        if not sources:
            return {}
        check = getattr(self.library, 'check_batch', None)
        if check is not None:
            check(model, self.name, inputs, data_samples)
        autocast = contextlib.nullcontext()
        if self.dtype is not None:
            autocast = torch.autocast(leaves(inputs)[0].device.type, _DTYPES[self.dtype])
            inputs = map_leaves(_channels_last, inputs)
        # With a count that varies from step to step nobody knows when all taps are read.
        stop_after = self.counts if self.prune and None not in self.counts.values() else None
        with Recorder(model, sources, self.clone, stop_after) as recorder, autocast:
            with contextlib.suppress(AllTapsRead):
                self.library.forward(model, inputs, data_samples,
                                     [source.path for source in sources], shared)
        return recorder.calls


def _channels_last(x):
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def named_teachers(cfg):
    """{name: (label for messages, dict)} from one teacher's dict or a dict of named ones."""
    found = teachers_of(dict(teacher=cfg))
    if not found:
        raise ValueError("teacher must be dict(config=..., checkpoint=...) or a dict of such "
                         f'dicts by name, not {cfg!r}')
    return {name: ('teacher' if item is cfg else f'teacher {name!r}', item)
            for name, item in found.items()}


def build_teacher(label, cfg):
    """A Teacher from its dict; ``label`` is how messages call it."""
    mistakes = Mistakes()
    for key in cfg:
        mistakes.catch('', refuse_unknown, label, [key], _KEYS)
    if 'config' not in cfg:
        mistakes.add(f"{label} needs config=: a path, a 'mmseg::' or 'mmdet::' name or a dict")
    else:
        teacher = mistakes.catch('', Teacher, label, **{k: v for k, v in cfg.items()
                                                       if k in _KEYS})
    mistakes.raise_any()
    return teacher


def build_model(config, label):
    """The bare network of a config (no weights); a distill config gives its student."""
    model_cfg, scope = load_model_config(config, label)
    model_cfg = copy.deepcopy(model_cfg)
    if 'pretrained' in model_cfg:
        model_cfg['pretrained'] = None  # the weights come from the checkpoint
    with DefaultScope.overwrite_default_scope(scope):
        try:
            return build_network(model_cfg)
        except Exception as error:  # a package that is missing, an argument that is not known
            raise ValueError(f'{label}: its model cannot be built ({type(error).__name__}: '
                             f'{error})') from error


def read_weights(checkpoint, label, trust=False):
    """The tensors of a checkpoint by name, without what distillation added.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or holds no weights.
    """
    try:
        return students_weights(load_checkpoint_file(checkpoint, 'cpu', trust), checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f'{label}: {error}') from error


def fit_weights(model, state, checkpoint, label):
    """Put ``state`` into ``model``; every parameter and buffer must be found, but for
    BatchNorm's step counters, which a frozen network never reads.

    A branch that the model does not have, such as an auxiliary head, may be in the file; it is
    told and left out.

    Raises:
        ValueError: Missing keys, other shapes, values that are NaN or infinite, or layers of a
            deeper network; the message lists them.
    """
    own, state = model.state_dict(), as_held_by(model, state)
    missing = [key for key in own if key not in state
               and key.rpartition('.')[2] != 'num_batches_tracked']
    other = [f'{key} ({tuple(state[key].shape)} in the file, {tuple(value.shape)} in the model)'
             for key, value in own.items()
             if key in state and state[key].shape != value.shape]
    kinds = [f'{key} ({state[key].dtype} in the file, {value.dtype} in the model)'
             for key, value in own.items() if key in state and value.is_floating_point()
             and not state[key].is_floating_point()]
    extra = [key for key in state if key not in own]
    deeper = of_more_parts(own, extra)
    if missing or other or kinds or deeper:
        problems = [f'{len(missing)} keys are missing: {_some(missing)}'] if missing else []
        problems += [f'{len(other)} have another shape: {_some(other)}'] if other else []
        problems += [f'{len(kinds)} are of another kind: {_some(kinds)}'] if kinds else []
        if deeper and not missing:
            problems.append(f'{len(deeper)} are of layers, stages or tasks that the model lacks, '
                            f'which has fewer: {_some(deeper)}')
        if missing and extra:
            problems.append(f'{len(extra)} keys in the file fit nothing: {_some(extra)}')
            problems += in_front(own, state)
        raise ValueError(f"{label}: {checkpoint!r} does not fit {type(model).__name__}: "
                         + '; '.join(problems) + '. Is it the checkpoint of this config?')
    broken = not_finite(own, state)
    if broken:
        raise ValueError(f'{label}: {checkpoint!r} {broken}')
    if extra:
        print_log(f'{label}: {len(extra)} keys of {checkpoint!r} are of parts that '
                  f'{type(model).__name__} does not have, and are left out: {_some(extra)}',
                  logger='current', level=logging.WARNING)
    model.load_state_dict(completed(model, state))


def _some(names, count=8):
    return ', '.join(names[:count]) + (f', ... ({len(names)} in all)' if len(names) > count else '')


__all__ = ['Teacher', 'build_model', 'build_teacher', 'fit_weights', 'named_teachers']
