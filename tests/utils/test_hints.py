"""Nearest names."""
from mmkd.utils.hints import did_you_mean, nearest


def test_best_first_and_no_more_than_asked():
    known = ['decode_head.conv_seg', 'decode_head.convs', 'backbone.layer4', 'neck']
    assert nearest('decode_head.conv_sag', known)[0] == 'decode_head.conv_seg'
    assert nearest('layer4', known) == ['backbone.layer4']
    assert nearest('neck.fpn.0.conv', ['backbone', 'neck']) == ['neck']
    assert len(nearest('a', ['aa', 'ab', 'ac', 'ad', 'a1'], count=2)) == 2
    assert len(set(nearest('conv', ['conv1', 'conv2', 'conv3', 'conv']))) == 3


def test_nothing_near_says_nothing():
    assert nearest('zzz', ['backbone', 'neck']) == []
    assert did_you_mean('zzz', ['backbone']) == '' == did_you_mean('x', [])
    assert did_you_mean('', ['backbone']) == ''
    assert did_you_mean(None, ['backbone']) == ''


def test_another_case_is_near_and_the_word_itself_is_not():
    assert nearest('CWD', ['kd', 'cwd', 'at'])[0] == 'cwd'
    assert nearest('basesegdataset', ['BaseSegDataset']) == ['BaseSegDataset']
    assert nearest('logits', ['logits']) == [] and did_you_mean('logits', ['logits', 'x']) == ''
    assert nearest('logits', ['logits', 'aux_logits']) == ['aux_logits']


def test_the_sentence():
    assert did_you_mean('weigth', ['weight', 'loss']) == "; did you mean 'weight'?"
    assert did_you_mean('ab', dict(ab1=1, abc22=2)) == "; did you mean 'ab1', 'abc22'?"
