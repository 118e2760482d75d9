"""Whether the weights in a checkpoint are those of a model."""
import torch

from .hints import did_you_mean

# Counts the batches that a norm has seen; older files lack it, and inference never reads it.
_OPTIONAL = 'num_batches_tracked'


def weights_in(loaded, filename):
    """key -> tensor of a loaded checkpoint, without the ``module.`` that DataParallel writes.

    With ``distiller.`` begin the keys of what distillation added to the student.

    Raises:
        ValueError: There are no weights in it.
    """
    state = loaded.get('state_dict', loaded) if isinstance(loaded, dict) else None
    state = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)} \
        if isinstance(state, dict) else {}
    if not state:
        keys = f"; it has {_some(list(map(str, loaded)))}" if isinstance(loaded, dict) else ''
        raise ValueError(f'{filename!r} holds no weights (no state_dict{keys})')
    return {key.removeprefix('module.'): value for key, value in state.items()}


def students_weights(loaded, filename):
    """:func:`weights_in` without what distillation added."""
    return {key: value for key, value in weights_in(loaded, filename).items()
            if not key.startswith('distiller.')}


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


def _some(keys, count=4):
    return ', '.join(keys[:count]) + (', ...' if len(keys) > count else '')
