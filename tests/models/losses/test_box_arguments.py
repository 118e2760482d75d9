"""Losses on a detector's predictions: what they refuse, their factors, their copies."""
import copy
import pickle

import pytest
import torch

from mmkd.registry import MODELS
from tests.models.losses.test_box_losses import SETUPS, Case, every_setup


@every_setup
def test_what_does_not_fit_is_told_in_words(name):
    loss = SETUPS[name][0]
    for change, message in [
            (lambda c: c.student.pop('reg'), f'{loss}: the student has no reg .it has cls'),
            (lambda c: setattr(c, 'teacher', c.teacher['reg']),
             f'{loss}: the teacher has no .*one list.*tap=dict'),
            (lambda c: c.teacher['reg'].pop(), f'{loss}: the numbers of levels differ.*teacher'),
            (lambda c: c.teacher['reg'].__setitem__(1, c.teacher['reg'][1][:, :8, :, 1:]),
             f'{loss}: reg of level 1 has shape .*reg_max')]:
        case = Case(name)
        change(case)
        with pytest.raises(ValueError, match=message):
            case.loss(case.student, case.teacher, **case.extras)


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="diou='giou' is none of 'anchor_area', 'union'"):
        MODELS.build(dict(type='mmkd.LDLoss', diou='giou'))
    with pytest.raises(ValueError, match="boxes='l1' is none of 'kl', 'giou', 'iou'"):
        MODELS.build(dict(type='mmkd.CrossKDLoss', boxes='l1'))
    case = Case('CrossKD, ATSS')
    case.extras['boxes'] = case.extras.pop('teacher_head') and [torch.zeros(0, 4)] * 2
    with pytest.raises(ValueError, match='LDLoss compares distributions.*ATSSHead does not'):
        MODELS.build(dict(type='mmkd.LDLoss'))(case.student, case.teacher, **case.extras)


def test_distributions_of_one_bin_and_softmax_heads_are_refused():
    case = Case('CrossKD, ATSS')
    case.loss.boxes = 'kl'
    with pytest.raises(ValueError, match="boxes='kl' compares distributions, and ATSSHead"):
        case.run()
    for name in ('CrossKD, RetinaNet', 'BCKD, RetinaNet'):
        case = Case(name)
        case.head.use_sigmoid_cls = False
        with pytest.raises(ValueError, match='RetinaHead has a softmax over them'):
            case.run()


@every_setup
def test_copies_and_pickles(name):
    case = Case(name)
    expected = case.run()
    assert repr(case.loss) and not case.loss.state_dict()
    for twin in (copy.deepcopy(case.loss), pickle.loads(pickle.dumps(case.loss))):
        case.loss = twin
        torch.testing.assert_close(case.run(), expected, rtol=0, atol=0)


@pytest.mark.parametrize('loss, part', [
    ('LDLoss', 'ld'), ('LDLoss', 'ld_vlr'), ('LDLoss', 'kd'), ('BCKDLoss', 'cls'),
    ('BCKDLoss', 'loc'), ('CrossKDLoss', 'cls'), ('CrossKDLoss', 'reg'),
    ('CrossKDLoss', 'centerness')])
def test_factors_scale_their_part_alone_and_zero_leaves_it_out(loss, part):
    argument = dict(ld='main', ld_vlr='vlr', kd='cls').get(part, part) + '_weight'
    name = 'CrossKD, ATSS' if loss == 'CrossKDLoss' else loss[:-4]
    plain = Case(name).run()[0]
    factor = 3 * Case(name).loss.weights[part]
    scaled = Case(name, **{argument: factor}).run()[0]
    torch.testing.assert_close(scaled, plain | {part: 3 * plain[part]})
    left = Case(name, **{argument: 0}).run()[0]
    torch.testing.assert_close(left, {key: value for key, value in plain.items() if key != part})
