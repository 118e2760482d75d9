"""Mean, spread and the paired interval, against scipy's own tests and by hand."""
import math

import numpy as np
import pytest
from scipy import stats

from mmkd.results.comparison.statistics import paired_gain, summary


def test_summary_by_hand():
    assert summary([2., 4., 9.]) == (5., math.sqrt((9 + 1 + 16) / 2))
    assert summary([7.]) == (7., None)


def test_the_interval_by_hand():
    # differences 1, 2, 3: mean 2, deviation 1, n 3; t(0.975, 2) = 4.302653 (any table)
    gain = paired_gain({0: 11., 1: 22., 2: 33.}, {0: 10., 1: 20., 2: 30.})
    assert gain['n'] == 3 and gain['each'] == {0: 1., 1: 2., 2: 3.} and gain['mean'] == 2.
    assert gain['half_width'] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize('n', [2, 3, 5, 10])
def test_the_interval_is_that_of_scipys_paired_test(n):
    rng = np.random.default_rng(n)
    base, values = rng.normal(30, 3, n), rng.normal(32, 3, n)
    gain = paired_gain(dict(enumerate(values)), dict(enumerate(base)))
    low, high = stats.ttest_rel(values, base).confidence_interval(0.95)
    assert gain['mean'] - gain['half_width'] == pytest.approx(low)
    assert gain['mean'] + gain['half_width'] == pytest.approx(high)


def test_what_is_common_to_both_does_not_widen_the_interval():
    """Paired: seeds that differ much, gains that do not."""
    base = {0: 10., 1: 50., 2: 90.}
    gain = paired_gain({0: 11., 1: 51., 2: 91.}, base)
    assert gain['mean'] == 1. and gain['half_width'] == 0.


def test_only_the_seeds_that_both_have_count():
    gain = paired_gain({0: 5., 2: 9., 3: 1.}, {0: 4., 1: 100., 2: 7.})
    assert gain['each'] == {0: 1., 2: 2.} and gain['n'] == 2
    assert paired_gain({3: 1.}, {0: 4.}) is None


def test_one_seed_has_no_interval():
    gain = paired_gain({0: 5.}, {0: 4.})
    assert gain['mean'] == 1. and gain['half_width'] is None and gain['n'] == 1
