"""DenseHead against what mmdet's own heads do in their losses and predictions."""
import copy
import pickle
from unittest import mock

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn

from mmkd.models.libraries.mmdet_heads import dense_head
from tests.dense_heads import (
    HEADS,
    STRIDES,
    TOWERED,
    Detector,
    build_head,
    pyramid,
    samples,
)

EMPTY = ([], [])
AWKWARD = ([[-20., -20., 30., 40.], [30., 30., 30., 30.]], [[0., 0., 64., 64.], [50., 2., 90., 9.]])


def view(head):
    return dense_head(Detector(bbox_head=head))


def raw(head, features):
    """What the tap ``reg`` gives: the outputs of the last layer of the box branch."""
    last = list(getattr(head, 'scales', [])) or [
        getattr(head, 'retina_reg', None) or head.rpn_reg]
    outputs = []
    handles = [layer.register_forward_hook(lambda *args: outputs.append(args[2].clone()))
               for layer in last]
    predicted = head(features)
    for handle in handles:
        handle.remove()
    return predicted, outputs


@pytest.mark.parametrize('name, options', [
    *((name, {}) for name in HEADS), ('FCOSHead', dict(norm_on_bbox=True))])
def test_decode_is_what_the_head_predicts_before_nms(name, options):
    head = build_head(name, num_classes=1, **options).eval()
    head.bbox_coder.clip_border = False
    with torch.no_grad():
        predicted, reg = raw(head, pyramid())
    boxes = view(head).decode(reg)
    assert [tuple(level.shape) for level in boxes] == [
        (2, count * head.num_base_priors, 4) for count in (64, 16, 4)]
    cfg = ConfigDict(score_thr=-1., nms_pre=1000)
    with mock.patch.object(head, '_bbox_post_process', lambda results, **_: results):
        theirs = head.predict_by_feat(*predicted, cfg=cfg,
                                      batch_img_metas=[dict(img_shape=(64, 64))] * 2)
    for i, expected in enumerate(theirs):
        ours = []
        for level, score in zip(boxes, predicted[0], strict=True):
            score = score[i].permute(1, 2, 0).reshape(-1).sigmoid()
            order = score.sort(descending=True)[1]  # as mmdet filters, but for an RPN
            ours.append(level[i] if name == 'RPNHead' else level[i][order])
        torch.testing.assert_close(torch.cat(ours), expected.bboxes, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('name, options', [
    *((name, {}) for name in TOWERED),
    ('FCOSHead', dict(centerness_on_reg=True, norm_on_bbox=True))])
@pytest.mark.parametrize('after', [0, 1, 2, 3])
def test_rest_of_its_own_features_is_what_the_head_predicts(name, options, after):
    head, features = build_head(name, **options).eval(), pyramid()
    towers = []
    for convs in (head.cls_convs, head.reg_convs):
        levels = features
        for i in range(after):
            levels = [convs[i](x, activate=i < after - 1) for x in levels]
        towers.append(levels)
    given = [[x.clone() for x in levels] for levels in towers]
    rest = view(head).rest(*towers, after=after)
    predicted, reg = raw(head, features)
    assert all(torch.equal(a, b) for a, b in zip(rest['cls'], predicted[0], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(rest['reg'], reg, strict=True))
    assert ('centerness' in rest) == (len(predicted) == 3)
    if len(predicted) == 3:
        assert all(torch.equal(a, b) for a, b in
                   zip(rest['centerness'], predicted[2], strict=True))
    assert all(torch.equal(a, b) for levels, kept in zip(towers, given, strict=True)
               for a, b in zip(levels, kept, strict=True)), 'what was given is not changed'


def test_priors():
    sizes = [(8, 8), (4, 4), (2, 2)]
    gfl, retina, fcos = (view(build_head(name)) for name in ('GFLHead', 'RetinaHead', 'FCOSHead'))
    assert gfl.strides == retina.strides == fcos.strides == STRIDES
    assert (gfl.kind, retina.kind, fcos.kind) == ('distributions', 'anchors', 'points')
    assert [len(level) for level in retina.anchors(sizes)] == [192, 48, 12]
    # squares of 8 strides around the corners of the grid; rows in the order (h, w)
    assert gfl.anchors(sizes)[0][9].tolist() == [8 - 32, 8 - 32, 8 + 32, 8 + 32]
    assert gfl.points(sizes)[0][10].tolist() == [16, 8]
    assert [tuple(level.shape) for level in retina.points(sizes)] == [(64, 2), (16, 2), (4, 2)]
    torch.testing.assert_close(retina.points(sizes)[0][10], torch.tensor([16., 8.]))
    assert fcos.points(sizes)[0][10].tolist() == [20, 12]
    with pytest.raises(ValueError, match='FCOSHead has no anchors, it predicts from points'):
        fcos.anchors(sizes)
    with pytest.raises(ValueError, match='has 3 levels .*maps of 2 were given'):
        gfl.points(sizes[:2])


@pytest.mark.parametrize('name', HEADS)
def test_extreme_numbers_decode_to_finite_boxes_with_finite_areas(name):
    head = build_head(name)
    _, reg = raw(head, pyramid())
    for value in (1e4, -1e4, 1e12):
        levels = [torch.full_like(x, value).requires_grad_() for x in reg]
        boxes = torch.cat(view(head).decode(levels), 1)
        sides = boxes[..., 2:] - boxes[..., :2]
        assert boxes.isfinite().all() and sides.prod(-1).isfinite().all()
        boxes.sum().backward()
        assert all(x.grad.isfinite().all() for x in levels)


def test_a_copy_is_the_same_view_and_a_pickle_has_no_weights():
    head = build_head('GFLHead')
    ours = view(head)
    assert copy.deepcopy(ours) is ours
    data = pickle.dumps(ours)
    assert len(data) < 200
    with pytest.raises(ValueError, match='came out of a pickle'):
        pickle.loads(data).strides  # noqa: B018


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match='Detector has no dense head.*RetinaHead, ATSSHead, GFL'):
        dense_head(Detector())
    with pytest.raises(ValueError, match='Detector has Linear, but'):
        dense_head(Detector(bbox_head=nn.Linear(1, 1)))
    rpn = dense_head(Detector(rpn_head=build_head('RPNHead')))
    with pytest.raises(ValueError, match='RPNHead has no towers'):
        rpn.rest(pyramid(), pyramid(), after=1)
    with pytest.raises(ValueError, match='has 3 convolutions in a tower.*number 4'):
        view(build_head('GFLHead')).rest(pyramid(), pyramid(), after=4)
    batch = samples()
    del batch[1].gt_instances
    with pytest.raises(ValueError, match=r'samples \[1\] of the batch have no boxes'):
        view(build_head('GFLHead')).assign([(8, 8), (4, 4), (2, 2)], batch)
    untrained = build_head('ATSSHead')
    del untrained.assigner
    with pytest.raises(ValueError, match='ATSSHead assigns labels in another way.*no assigner'):
        view(untrained).assign([(8, 8), (4, 4), (2, 2)], samples())


def test_subclasses():
    head = build_head('LDHead', loss_ld=dict(type='KnowledgeDistillationKLDivLoss', T=10))
    assert view(head).kind == 'distributions'
    assert view(head).assign([(8, 8), (4, 4), (2, 2)], samples()).normaliser > 0
    paa = view(build_head('PAAHead'))
    assert len(paa.decode([x[:, :4] for x in pyramid()])) == 3
    with pytest.raises(ValueError, match='PAAHead assigns.*its own get_targets'):
        paa.assign([(8, 8), (4, 4), (2, 2)], samples())

    class Wider(type(build_head('GFLHead'))):
        def forward_single(self, x, scale):
            return super().forward_single(x, scale)

    head.__class__ = Wider
    with pytest.raises(ValueError, match=r'Wider has other layers.*GFLHead \(forward_single\)'):
        view(head)
