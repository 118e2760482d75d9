"""How long one prediction takes, from the preprocessed input to the result."""
import copy
import statistics
import time

import torch

from .tasks import inputs_of


def runner(model, data):
    """A function that predicts one sample, preprocessed beforehand."""
    batch = inputs_of(model, data)

    def run():
        with torch.no_grad():
            return model._run_forward(copy.copy(batch), mode='predict')
    return run


def latencies(functions, repeats=15, warm_up=3):
    """Median seconds of each function, called in turns so that the machine's other work hits all.

    Args:
        functions (dict): name -> function without arguments.
        repeats (int): Timed calls of each.
        warm_up (int): Calls of each before.

    Returns:
        dict: name -> median seconds.
    """
    seconds = {name: [] for name in functions}
    for i in range(warm_up + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
