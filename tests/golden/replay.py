"""Replays reference cases of official implementations through mmkd's own classes.

    python -m tests.golden.replay [--float32] FILE.json [FILE.json ...]

For each case one line goes to standard output: its name and the largest relative error over
losses and other outputs, gradients with respect to inputs and to weights, and the state after
the call. What is wrong goes to standard error, and the exit status is then 1: an error above the
tolerance (1e-6 in float64, 1e-4 in float32), a family without an adapter, a file that cannot be
read, a recorded value that mmkd has no counterpart for, or no case at all.

The relative error of an array is max |ours - official| / max |official|. An array that is zero
but for rounding (a gradient that cancels out) has no relative error, so a gradient's divisor is
kept above a small part of the loss and of its largest recorded gradient, and that of a value
whose terms the adapter knows above a hundredth of the largest term. Integer state, such as the
pointer of a queue, must be equal. Where the official value is not finite ours must be finite,
and zero where the adapter says so; the rest of such an array is compared as usual.
"""
import argparse
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import torch

from tests.golden.case import Case
from tests.golden.files import CaseError, read_json
from tests.golden.layouts import named_by_kind

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
#: smallest divisor: absolute, and as a part of the loss and of its largest gradient
FLOOR = {torch.float64: (1e-10, 1e-8), torch.float32: (1e-6, 1e-3)}
#: smallest divisor as a part of the terms that a value is the difference of
OF_TERMS = 1e-2


def adapters():
    """The names of the families that have an adapter."""
    folder = Path(__file__).parent / 'adapters'
    return sorted(file.stem for file in folder.glob('*.py') if not file.stem.startswith('_'))


def find_adapter(*names, kind=False):
    """The first of ``names`` (of one case) that belongs to a family with an adapter.

    The family is what comes before a trailing ``_<number>`` or before ``__``. Where a name has
    neither, words are cut from its end until an adapter is found, so the longest one wins.

    Args:
        names: e.g. of the file, and in it.
        kind: whether words are cut before a number, too: ``slidr_no_pairs_2``.

    Returns:
        The name, and its family.

    Raises:
        CaseError: if there is no adapter; the message lists those there are.
    """
    known = adapters()
    for name in names:
        numbered = re.fullmatch(r'(.+?)_\d+', name)
        if '__' in name:
            families = [name.split('__')[0]]
        elif numbered and not kind:
            families = [numbered[1]]
        else:
            words = (numbered[1] if numbered else name).split('_')
            families = ['_'.join(words[:k]) for k in range(len(words), 0, -1)]
        for family in families:
            if family in known:
                return name, family
    raise CaseError(f'{names[0]}: no adapter for this family; there are adapters for '
                    f'{", ".join(known)} (tests/golden/adapters/)')


def divisors(case, floor, terms):
    """For every recorded array, the smallest number its error may be divided by."""
    absolute, part = floor
    peaks = {}
    for key, value in case.expected.items():
        known = np.abs(value[np.isfinite(value)])
        if key.startswith(('grad', 'out__')) and known.size:
            loss = key.split('__')[1]
            peaks[loss] = max(peaks.get(loss, 0.), known.max())
    return {key: max(absolute, OF_TERMS * terms.get(key, 0.),
                     part * peaks.get(key.split('__')[1], 0.) if key.startswith('grad') else 0.)
            for key in case.expected}


def compare(key, ours, official, divisor, must_be_zero=False):
    """The relative error of one array, and whether part of ``official`` was not finite.

    Raises:
        CaseError: if ours is missing, of another size, not finite, or not what it must be where
            no relative error is defined.
    """
    if ours is None:
        raise CaseError(f'{key}: mmkd has no counterpart for this recorded value')
    if ours.size != official.size:
        raise CaseError(f'{key}: ours has shape {ours.shape}, the official one {official.shape}')
    ours = ours.reshape(official.shape)
    if not np.isfinite(ours).all():
        raise CaseError(f'{key}: ours is not finite')
    if not np.issubdtype(official.dtype, np.floating):
        if not np.array_equal(ours, official):
            raise CaseError(f'{key}: ours is {ours}, the official value {official}')
        return 0., False
    known = np.isfinite(official)
    if must_be_zero and np.any(ours[~known]):
        raise CaseError(f'{key}: ours is {ours}, expected 0 where the official value is not finite')
    if not known.any():
        return 0., official.size > 0
    scale = max(np.abs(official[known]).max(), divisor)
    error = np.abs(ours[known].astype(np.float64) - official[known]).max() / scale
    return float(error), not known.all()


def replay(path, float32=False):
    """Replays one case.

    Args:
        path: the json file.
        float32: whether to compute in float32 whatever was recorded.

    Returns:
        The case's name, its largest relative error, the number of arrays whose official value
        is not all finite, and what is wrong with it as a list of messages.

    Raises:
        CaseError: if the case can't be read or replayed.
    """
    path = Path(path)
    info = read_json(path)
    inner = '__'.join(str(info[key]) for key in ('method', 'case') if key in info)
    name, family = find_adapter(path.stem, inner, str(info.get('case', '')),
                                kind=named_by_kind(info))
    adapter = importlib.import_module(f'tests.golden.adapters.{family}')
    case = Case(path, name, torch.float32 if float32 else None, getattr(adapter, 'ARRAYS', None))
    outcome = adapter.run(case)
    problems = []
    if case.unbound():
        problems.append(f'recorded weights were not used: {", ".join(case.unbound())}')
    largest, not_finite = 0., 0
    tolerance = TOLERANCE[case.dtype]
    floor = divisors(case, FLOOR[case.dtype], outcome.terms)
    for key, ours in case.results(outcome).items():
        try:
            error, odd = compare(key, ours, case.expected[key], floor[key],
                                 key.startswith('out__') and key[5:] in outcome.zero)
        except CaseError as problem:
            problems.append(str(problem))
            continue
        largest, not_finite = max(largest, error), not_finite + odd
        if error > tolerance:
            problems.append(f'{key}: relative error {error:.2e} is above {tolerance:.0e}')
    return case.name, largest, not_finite, problems


def main(argv=None):
    """Replays the cases named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.golden.replay',
        description="Replay reference cases of official implementations through mmkd's classes.")
    parser.add_argument('files', nargs='*', metavar='FILE.json')
    parser.add_argument('--float32', action='store_true',
                        help='compute in float32, with a tolerance of 1e-4')
    args = parser.parse_args(argv)
    if not args.files:
        print('no case given: name one or more json files of cases', file=sys.stderr)
        return 1
    failed = 0
    for file in args.files:
        try:
            name, error, not_finite, problems = replay(file, args.float32)
        except CaseError as problem:
            print(f'FAILED {problem}', file=sys.stderr)
            failed += 1
            continue
        except Exception as problem:  # an adapter or a loss that breaks fails its case only
            print(f'FAILED {file}: {type(problem).__name__}: {problem}', file=sys.stderr)
            failed += 1
            continue
        print(f'{name} {error:.3e}', flush=True)
        if not_finite:
            print(f'{name}: {not_finite} recorded array(s) are not finite; ours are',
                  file=sys.stderr)
        for problem in problems:
            print(f'FAILED {name}: {problem}', file=sys.stderr)
        failed += bool(problems)
    if failed:
        print(f'{failed} of {len(args.files)} case(s) failed', file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
