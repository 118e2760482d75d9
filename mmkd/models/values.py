"""What a tap gives: a tensor, a pyramid (a list of them), or several by name (a dict of these)."""
import torch


def leaves(value):
    """All tensors of a value, in order."""
    if isinstance(value, dict):
        return [x for item in value.values() for x in leaves(item)]
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in leaves(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def map_leaves(function, value):
    """The same value with every tensor replaced by ``function(tensor)``."""
    if isinstance(value, dict):
        return {key: map_leaves(function, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_leaves(function, item) for item in value]
    return function(value)


def has_levels(value):
    """Whether the value is a pyramid, or one of its names is."""
    if isinstance(value, dict):
        return any(has_levels(item) for item in value.values())
    return isinstance(value, list)


def count_levels(value):
    """How many levels its pyramids have (all the same number)."""
    if isinstance(value, dict):
        return next(len(item) for item in value.values() if isinstance(item, list))
    return len(value)


def level_of(value, i):
    """The value at level ``i``; what is no pyramid stays whole."""
    if isinstance(value, dict):
        return {key: level_of(item, i) for key, item in value.items()}
    return value[i] if isinstance(value, list) else value


def shapes(value, batch=False):
    """The shapes, without the batch or with it, for messages."""
    if isinstance(value, dict):
        return ', '.join(f'{key} {shapes(item, batch)}' for key, item in value.items())
    if isinstance(value, list):
        return '[' + ', '.join(shapes(item, batch) for item in value) + ']'
    return str(tuple(value.shape if batch else value.shape[1:]))
