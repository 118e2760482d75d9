"""Unequal channels: the message tells which tap they are of, and the cure for it."""
import pytest
import torch
from torch import nn

from mmkd.models.channel_check import check_channels
from tests.detectors import det_distiller, small_detector
from tests.helpers import build


class Equal(nn.Module):
    same_channels = True


def message_of(tap, names=None):
    """The message on taps written ``tap``, with 4 and 6 channels."""
    student, teacher = [torch.rand(2, 4, 3, 3)], [torch.rand(2, 6, 3, 3)]
    if names:
        student, teacher = dict(same=student, one=student), dict(same=student, one=teacher)
        tap = dict(same='neck', one=tap)
    with pytest.raises(ValueError, match='student gives 4 and the teacher 6') as caught:
        check_channels(Equal(), dict(student=tap, teacher=tap), student, teacher)
    return str(caught.value)


@pytest.mark.parametrize('tap', [
    'logits', 'aux_logits', 'cls', 'roi_cls', 'bbox_head.retina_cls[:]',
    'decode_head.1.conv_seg[0]',
    ('bbox_head.multi_level_conv_cls.0', 'bbox_head.multi_level_conv_cls.1')])
def test_scores_need_the_same_classes(tap):
    for names in (False, True):
        message = message_of(tap, names)
        assert 'different number of classes' in message and 'connector' not in message


@pytest.mark.parametrize('tap', [
    'neck', 'cls_tower.3', 'bbox_head.cls_convs.0[:]', 'decode_head.conv_seg:input',
    ('neck.fpn_convs.0.conv', 'bbox_head.cls_convs.0')])
def test_features_need_a_connector_where_they_are(tap):
    connector = "dict(type='mmkd.ConvConnector')"
    assert message_of(tap).endswith(f'add student_connector={connector}')
    message = message_of(tap, names=True)
    assert "of 'one' the student" in message
    assert message.endswith(f'add student_connector=dict(one={connector})')


def test_anchors_are_no_classes():
    assert 'number of anchors' in message_of('cls') and 'number of anchors' in message_of('rpn_cls')
    assert 'classes' not in message_of('rpn_cls')


def test_the_cure_of_a_term_with_several_taps_works():
    def distiller(**connector):
        tap = dict(feature='bbox_head.cls_convs.0[:]')
        term = dict(student_tap=tap, teacher_tap=dict(tap, cls='cls', reg='reg'), weight=1.,
                    loss=dict(type='mmkd.PGDClsLoss', alpha=0.04, temp=0.8, topk=9), **connector)
        return build(det_distiller(dict(classes=term), 'gfl', small_detector('gfl', 32)))
    with pytest.raises(ValueError, match=r"student_connector=dict\(feature=dict\(type='mmkd"):
        distiller()
    distiller(student_connector=dict(feature=dict(type='mmkd.ConvConnector')))
