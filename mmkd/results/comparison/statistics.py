"""Mean and spread over seeds, and the paired interval of a gain."""
import math
import statistics

from scipy import stats


def summary(values):
    """(mean, standard deviation) of at least one number; no deviation (None) of a single one."""
    return (statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None)


def paired_gain(values, base, confidence=0.95):
    """The mean of ``values - base`` over the seeds that both have, with its interval.

    Student's t on the differences seed by seed: with the same seed both saw the same data in
    the same order, so that what a seed does to both cancels.

    Args:
        values, base (dict): Number by seed.
        confidence (float): Of the interval.

    Returns:
        dict | None: ``n``, ``each`` (by seed), ``mean`` and ``half_width``, which is None with
        one seed; None where no seed is in both.
    """
    each = {seed: values[seed] - base[seed] for seed in values if seed in base}
    if not each:
        return None
    mean, deviation = summary(list(each.values()))
    n = len(each)
    half_width = None if deviation is None else float(
        stats.t.ppf((1 + confidence) / 2, n - 1) * deviation / math.sqrt(n))
    return dict(n=n, each=each, mean=mean, half_width=half_width, confidence=confidence)
