"""Whether the weights in a checkpoint are those of a model."""
import collections
import copy

import torch

from .hints import did_you_mean

# Counts the batches that a norm has seen; older files lack it, and inference never reads it.
_OPTIONAL = 'num_batches_tracked'
_DIGITS = '0123456789'


def weights_in(loaded, filename):
    """key -> tensor of a loaded checkpoint, without the ``module.`` that DataParallel writes.

    With ``distiller.`` begin the keys of what distillation added to the student. The versions of
    the layers, which PyTorch keeps beside a state_dict, stay beside it.

    Raises:
        ValueError: There are no weights in it.
    """
    given = loaded.get('state_dict', loaded) if isinstance(loaded, dict) else None
    state = {key: value for key, value in given.items() if isinstance(value, torch.Tensor)} \
        if isinstance(given, dict) else {}
    if not state:
        keys = f"; it has {_some(list(map(str, loaded)))}" if isinstance(loaded, dict) else ''
        raise ValueError(f'{filename!r} holds no weights (no state_dict{keys})')
    versions = getattr(given, '_metadata', None) or {}
    return _with_versions({key.removeprefix('module.'): value for key, value in state.items()},
                          {path.removeprefix('module.'): of for path, of in versions.items()})


def students_weights(loaded, filename):
    """:func:`weights_in` without what distillation added."""
    state = weights_in(loaded, filename)
    return _with_versions({key: value for key, value in state.items()
                           if not key.startswith('distiller.')}, state._metadata)


def _with_versions(state, versions):
    state = collections.OrderedDict(state)
    state._metadata = versions
    return state


def as_held_by(model, state):
    """``state`` as ``model.state_dict()`` would have it, for what is in it.

    Layers whose layout has changed convert what another version has written, when it is loaded:
    the kernels of mmdet3d's sparse convolutions, which mmcv and spconv 1 hold the other way round.
    The result is no longer converted, and neither ``model`` nor ``state`` changes.
    """
    now, before = model.state_dict()._metadata, getattr(state, '_metadata', {})
    held = _with_versions(state, now)
    for path, layer in model.named_modules():
        names = (*layer._parameters, *layer._buffers)
        keys = {key: name for name in names if (key := f'{path}.{name}'.lstrip('.')) in held}
        own = type(layer)._load_from_state_dict.__module__
        if not keys or own.startswith('torch.') or before.get(path) == now.get(path):
            continue
        twin, errors = copy.deepcopy(layer), []
        with torch.no_grad():
            twin._load_from_state_dict({key: held[key] for key in keys}, f'{path}.'.lstrip('.'),
                                       before.get(path, {}), False, [], [], errors)
        if not errors:  # else its shapes are wrong either way, which is told of the file's
            held.update({key: getattr(twin, name).detach() for key, name in keys.items()})
    return held


def completed(model, state):
    """All that ``model`` holds, from ``state`` (of :func:`as_held_by`) where it is there."""
    own = model.state_dict()
    return _with_versions({key: state.get(key, value) for key, value in own.items()},
                          own._metadata)


def misfit(own, state):
    """How ``state`` differs from the state_dict ``own``, in words; None if it fits exactly."""
    fits = [key for key in own if key in state and own[key].shape == state[key].shape]
    missing = [key for key in own if key not in state and not key.endswith(_OPTIONAL)]
    extra = [key for key in state if key not in own]
    other = [f'{key}: {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model'
             for key in own if key in state and own[key].shape != state[key].shape]
    if not (missing or extra or other):
        return None
    parts = [f'{len(keys)} {text} ({_some(keys)})' for keys, text in (
        (other, 'have another shape'), (missing, 'are missing'),
        (extra, 'are in the file only')) if keys]
    parts += in_front(own, state) if missing else []
    if missing and extra and not in_front(own, state):
        parts.append(f'for the first that is missing{did_you_mean(missing[0], extra)[1:]}')
    return f'{len(fits) or "none"} of the {len(own)} keys fit; ' + ', '.join(parts)


def not_finite(own, state):
    """What is NaN or infinite of the values that ``own`` would get, in words; None if nothing is.

    A model may have infinities by itself (a mask of -inf).
    """
    broken = []
    for key, value in own.items():
        if key in state and state[key].shape == value.shape:
            loaded = state[key].to(value.device, value.dtype)  # float64 may overflow
            bad = loaded.isnan() | (loaded.isinf() & ~value.isinf())
            if bad.any():
                broken.append(f'{key} ({int(bad.sum())} of {bad.numel()} values)')
    return None if not broken else (
        f'holds NaN or infinite values: {_some(broken)}. Its training diverged, or the file is '
        'damaged: use an earlier checkpoint of it')


def in_front(own, state):
    """What stands in front of all keys of the file that would fit without it, as [text] or []."""
    needed = [key for key in own if not key.endswith(_OPTIONAL)]
    for prefix in dict.fromkeys(key.removesuffix(needed[0]) for key in state if needed
                                and key.endswith('.' + needed[0])):
        if all(prefix + key in state for key in needed):
            return [f'every key of the file has {prefix!r} in front']
    return []


def of_more_parts(own, extra):
    """Which of the keys ``extra`` are of a numbered part (``layer3.6``, ``layer4``,
    ``task_heads.2``) that a model does not have, beside others of its name that it has.

    A file with such keys is of a deeper network. All that the model has may be in it, and would be
    read without a word.

    Args:
        own (iterable of str): The model's keys.
        extra (list of str): Keys that it does not have.
    """
    paths = {path for key in own for path in _paths(key)}
    stems = {path.rstrip(_DIGITS) for path in paths if path[-1] in _DIGITS}
    found = []
    for key in extra:
        first = next((path for path in _paths(key) if path not in paths), '')
        if first.rstrip(_DIGITS) in stems and first[-1:].isdigit():
            found.append(key)
    return found


def _paths(key):
    """The modules that a key is in, from the outermost on."""
    parts = key.split('.')[:-1]
    return ['.'.join(parts[:n + 1]) for n in range(len(parts))]


def _some(keys, count=4):
    return ', '.join(keys[:count]) + (', ...' if len(keys) > count else '')
