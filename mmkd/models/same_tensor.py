"""Is what a tap gives in training the tensor that its name means in inference?"""
import contextlib

import torch


def exists(model, path):
    try:
        return model.get_submodule(path) is not None
    except AttributeError:
        return False


def last_of(tap, calls):
    """What a name's tap gives, in the last of several calls; None if that is no tensor."""
    try:
        return tap.select(calls[tap.source][-1:])
    except (ValueError, TypeError, IndexError, AttributeError):
        return None


def read_or_none(tap, calls):
    """What the tap gives, or None if its modules did not run or give no maps."""
    with contextlib.suppress(ValueError, TypeError, IndexError, AttributeError):
        if all(calls[source] for source in tap.sources):
            return tap.read(calls)
    return None


def derived(tap, calls):
    """What must have the same form in training: a derived tensor, or all a source gives."""
    return last_of(tap, calls) if tap.derive else calls[tap.source][-1:]


def where(tensor, given, index=()):
    """Every place, as an index, at which ``tensor`` stands in the one call ``given``."""
    if isinstance(given, torch.Tensor):
        return [index[1:]] if given is tensor else []
    if not isinstance(given, (list, tuple)):
        return []
    return [place for i, item in enumerate(given) for place in where(tensor, item, (*index, i))]


def form_of(value):
    """The shapes of what a module is given or gives."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return [form_of(item) for item in value]
    return type(value).__name__
