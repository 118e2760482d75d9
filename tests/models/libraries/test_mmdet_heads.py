"""DenseHead against what mmdet's own heads do in their losses and predictions."""
import copy
import pickle
from unittest import mock

import pytest
import torch
from mmdet.models.utils import unpack_gt_instances
from mmengine.config import ConfigDict
from torch import nn

from mmkd.models.libraries.mmdet_heads import dense_head
from tests.dense_heads import (
    BOXES,
    HEADS,
    STRIDES,
    TOWERED,
    Detector,
    build_head,
    pyramid,
    samples,
    sizes_of,
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


def trained(head, batch, features):
    """What the head's own loss passes to its losses: name -> list of (arguments, keywords)."""
    truth, ignored, metas = unpack_gt_instances(batch)
    if type(head).__name__ == 'RPNHead':
        for item in truth:
            item.labels = torch.zeros_like(item.labels)
    seen = {}

    def spy(name, module):
        plain = module.forward

        def forward(*args, **kwargs):
            seen.setdefault(name, []).append((args, kwargs))
            return plain(*args, **kwargs)
        return mock.patch.object(module, 'forward', forward)

    with spy('cls', head.loss_cls), spy('bbox', head.loss_bbox), \
            spy('centerness', getattr(head, 'loss_centerness', nn.Identity())):
        head.loss_by_feat(*head(features), truth, metas, ignored)
    return seen


@pytest.mark.parametrize('boxes', [BOXES, EMPTY, (BOXES[0], []), AWKWARD],
                         ids=['ordinary', 'no box', 'no box in one', 'awkward'])
@pytest.mark.parametrize('name', HEADS)
def test_assignment_is_what_the_head_trains_with(name, boxes):
    head, features, batch = build_head(name), pyramid(), samples(boxes)
    torch.manual_seed(3)
    seen = trained(head, copy.deepcopy(batch), features)
    torch.manual_seed(3)  # an RPN draws its samples
    ours = view(head).assign(sizes_of(features), batch)
    labels, weights, factors = [], [], []
    for args, kwargs in seen['cls']:
        label = args[1][0] if isinstance(args[1], tuple) else args[1]
        labels.append(label)
        weights.append(args[2] if len(args) > 2 else kwargs.get('weight'))
        factors.append(float(kwargs['avg_factor']))
    assert torch.equal(torch.cat([level.flatten() for level in ours.labels]), torch.cat(labels))
    ours_weights = torch.cat([level.flatten() for level in ours.label_weights])
    expected = (torch.ones_like(ours_weights) if weights[0] is None else torch.cat(weights))
    assert torch.equal(ours_weights, expected)
    assert set(factors) == {float(ours.normaliser)} and ours.normaliser.dtype == torch.float32
    if name == 'FCOSHead' and 'bbox' in seen:
        assert float(ours.box_normaliser) == float(seen['bbox'][0][1]['avg_factor'])
    else:
        assert ours.box_normaliser is None or float(ours.box_normaliser) == pytest.approx(1e-6)
    if ours.centerness_targets is not None:
        found = torch.cat([value[label < 5] for value, label in
                           zip(ours.centerness_targets, ours.labels, strict=True)])
        theirs = [args[1] for args, _ in seen.get('centerness', [])]
        assert torch.equal(found, torch.cat(theirs)) if theirs else not len(found)


@pytest.mark.parametrize('name', HEADS)
def test_box_targets_are_the_boxes_of_positives_in_pixels(name):
    head, batch = build_head(name), samples()
    ours = view(head).assign([(8, 8), (4, 4), (2, 2)], batch)
    count = 0
    for labels, targets in zip(ours.labels, ours.box_targets, strict=True):
        assert targets.shape == (*labels.shape, 4)
        for i, sample in enumerate(batch):
            truth = sample.gt_instances.bboxes
            positive = labels[i] < head.num_classes
            assert not targets[i][~positive].any()
            found, of_label = targets[i][positive], labels[i][positive]
            if name == 'RPNHead':  # which object is not told
                of_label = (found[:, None] - truth).abs().sum(-1).argmin(1)
            torch.testing.assert_close(found, truth[of_label], rtol=1e-4, atol=1e-3)
            count += len(found)
    assert count > 4


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


def test_anchors_outside_the_image_are_not_learned():
    batch = samples(size=(64, 32), padded=(64, 32))
    ours = view(build_head('GFLHead')).assign([(8, 8), (4, 4), (2, 2)], batch)
    weights = ours.label_weights[0].reshape(2, 8, 8)
    assert weights[:, :, :4].all() and not weights[:, :, 4:].any()


def test_a_batch_is_assigned_once_for_the_same_sizes():
    head = view(build_head('ATSSHead')).bind(samples())
    first = head.assign([(8, 8), (4, 4), (2, 2)])
    assert head.assign([torch.Size([8, 8]), (4, 4), [2, 2]]) is first
    assert head.assign([(4, 4), (2, 2), (1, 1)]) is not first
    with pytest.raises(ValueError, match='assign needs the batch'):
        view(build_head('ATSSHead')).assign([(8, 8), (4, 4), (2, 2)])


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


def test_the_draws_of_an_rpn_do_not_disturb_those_of_the_training():
    head = view(build_head('RPNHead'))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = head.assign([(8, 8), (4, 4), (2, 2)], samples())
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    other = head.assign([(8, 8), (4, 4), (2, 2)], samples())
    assert not torch.equal(first.label_weights[0], other.label_weights[0]), 'it does draw'


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
