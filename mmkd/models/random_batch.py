"""The smallest random batch on which a network runs, and a copy of the network to run on it."""
import itertools
import re

import torch

from .no_trace import no_trace, twin_of
from .values import map_leaves


def run_on_random_batch(model, library, label, run):
    """Call ``run(twin, batch)`` with a copy of ``model``, for the first batch that it can take.

    That is where the model is, which is the CPU while a distiller is built. A network whose
    operators have no kernels there runs on the GPU, if there is one: where it will be trained.

    Args:
        model (nn.Module): The network.
        library: Its file in ``mmkd.models.libraries``.
        label (str): How messages call it.
        run: A function of the copy and of (inputs, data samples), both on one device.

    Returns:
        What ``run`` gave, the batch, on the model's device, and its image size (H, W), None for a
        network that sees no images.

    Raises:
        ValueError: The model runs on no batch.
    """
    sizes = sorted({*library.SIZES, *library.input_sizes(model)},
                   key=lambda size: (size[0] * size[1], size)) or [None]
    tries = list(itertools.product(sizes, library.input_channels(model)))
    home = device_of(model)
    with no_trace(model):
        twin = twin_of(model)
        if twin is not model:
            library.settle(twin)
        found, error = _first(twin, library, tries, run)
        if found is None and twin is not model and _has_kernels_elsewhere(error, home):
            with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
                found, _ = _first(twin.to('cuda'), library, tries, run)
    if found is None:
        raise ValueError(
            f'the {label} ({library.called(model)}) does not run on a random batch '
            + (f'of 2 images of {min(sizes[0])} to {max(sizes[-1])} pixels' if sizes[0] else
               'of 2 samples') + f': {type(error).__name__}: {error}') from error
    value, batch, size = found
    return value, moved(batch, home), size


def device_of(model):
    """Where the model's parameters are."""
    return next(model.parameters()).device


def moved(batch, device):
    """(inputs, data samples) on a device."""
    inputs, samples = batch
    return map_leaves(lambda x: x.to(device), inputs), [sample.to(device) for sample in samples]


def _first(twin, library, tries, run):
    """((what ``run`` gave, batch, size), None) of the first of ``tries`` that works, or (None, the
    error)."""
    last = None
    for size, channels in tries:
        try:
            batch = moved(library.make_batch(twin, size, channels), device_of(twin))
            return (run(twin, batch), batch, size), None
        except Exception as error:  # too small for some models: try larger
            # The first number of channels is the likeliest: its error counts.
            last = error if channels == tries[0][1] else last
    return None, last


def _has_kernels_elsewhere(error, device):
    """Whether an operator said that it knows no CPU, where there is a GPU."""
    return device.type == 'cpu' and torch.cuda.is_available() and re.search(
        'cpu|cuda', str(error), re.IGNORECASE) is not None
