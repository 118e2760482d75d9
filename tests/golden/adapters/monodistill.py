"""MonoDistill's features, of as many levels as are recorded."""
import re

from mmkd.models.losses.feature import MonoDistillLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays


class Arrays(BareArrays):
    """With the maps of each level."""

    def prefixed(self, name, arrays):
        known = dict(self.known)
        for key in arrays:
            if found := re.fullmatch(r'(grad_)?((student|teacher)\.\d+)', key):
                self.known[key] = (f'{"grad__loss_total__" if found[1] else "in__"}{found[2]}',
                                   'float *')
        try:
            return super().prefixed(name, arrays)
        finally:
            self.known = known


ARRAYS = Arrays(
    given={'box2d': 'float B N 4', 'obj_num': 'int B'},
    expected=dict.fromkeys(('loss_imitation', 'loss_affinity', 'loss_total'), 'float'),
    loss='loss_total')


def run(case):
    args = case.arguments(weights=dict(imitation=10., affinity=1.), strides=(8, 16, 32))
    levels = range(len(args['strides']))
    try:
        student, teacher = ([case.inputs[f'{side}.{i}'] for i in levels]
                            for side in ('student', 'teacher'))
    except KeyError as missing:
        raise CaseError(f'{case.name}: no map {missing} for the strides '
                        f'{args["strides"]}') from missing
    if unknown := set(args['weights']) - {'imitation', 'affinity'}:
        raise CaseError(f'{case.name}: unknown weights {unknown}')
    boxes = [one[:count].detach() for one, count in zip(
        case.input('box2d'), case.input('obj_num').tolist(), strict=True)]
    last = student[-1].shape[2:]
    criterion = MonoDistillLoss()
    pairs = [(s, t.detach()) for s, t in zip(student, teacher, strict=True)]
    parts = dict(
        imitation=sum(criterion.imitation(*pair, [one / stride for one in boxes])
                      for pair, stride in zip(pairs, args['strides'], strict=True)),
        affinity=sum(criterion.affinity(*pair, last) for pair in pairs))
    total = sum(args['weights'].get(name, 0.) * value for name, value in parts.items())
    return Outcome({'loss_total': total, **{f'loss_{name}': x for name, x in parts.items()}})
