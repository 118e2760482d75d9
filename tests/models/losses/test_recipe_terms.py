"""Each term of each recipe that comes with mmkd, with its connectors, on random maps."""
import copy
import os

import pytest
import torch

from mmkd.apis import recipes
from mmkd.models.extras import Extras
from mmkd.models.schedules import Time
from mmkd.models.taps import parse_tap
from mmkd.models.terms import Term, TermSpec
from mmkd.utils.configs import read_config

from .cases import BANK
from .given import CLASSES, labels_for

# Those of detection need a detector: tests/configs/test_det_configs.py has them.
RECIPES = [(recipe, term) for recipe, file in recipes('seg').items()
           if f'{os.sep}seg{os.sep}' in file
           for term in read_config(file).distillations]


@pytest.mark.parametrize('autocast', [False, True], ids=['fp32', 'autocast'])
@pytest.mark.parametrize('recipe, name', RECIPES)
def test_recipe_terms(recipe, name, autocast):
    """Each term of each recipe: gradient for student and connectors, none for the teacher."""
    cfg = read_config(recipes()[recipe]).distillations[name].to_dict()
    if 'CIRKDMemory' in cfg['loss']['type']:
        cfg['loss'].update(BANK)
    torch.manual_seed(0)
    wide = 4 if cfg['loss']['type'] in ('mmkd.KDLoss', 'mmkd.CWDLoss') else 6
    student, teacher = torch.randn(2, 4, 6, 5), torch.randn(2, wide, 3, 4)
    extras = dict(labels=lambda *_: labels_for(2, 12, 10)['labels'])
    term = Term(TermSpec(name, cfg, ['teacher']), dict(student=parse_tap('a'), teacher=parse_tap(
        'b')), dict(student=student, teacher=teacher), dict(student=12, teacher=12),
        dict(num_classes=CLASSES), extras)
    state = copy.deepcopy(term.state_dict())
    term.try_out(dict(student=student, teacher=teacher), Extras(extras, None, None))
    for key, value in term.state_dict().items():
        assert torch.equal(value, state[key]), f'{key}: trying out leaves no trace'
    student.requires_grad_(), teacher.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = term(student, teacher, Time(0, 10), Extras(extras, None, None))
    assert all(key.startswith(f'loss_{name}') for key in losses)
    for value in losses.values():
        assert value.dtype == torch.float32 and torch.isfinite(value)
    sum(losses.values()).backward()
    assert teacher.grad is None
    assert student.grad is not None and torch.isfinite(student.grad).all() and student.grad.any()
    for key, parameter in term.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
