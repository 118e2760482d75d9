"""FGFI and DeFeat: which places count, and how errors are divided, against plain loops."""
import numpy as np
import pytest
import torch

from mmkd.models.connectors import ConvConnector
from mmkd.models.libraries.mmdet_heads import dense_head
from mmkd.models.losses import DeFeatLoss, FGFILoss
from mmkd.models.losses.maps import nearest_stride
from tests.dense_heads import BOXES, STRIDES, Detector, build_head, pyramid, samples, sizes_of
from tests.golden.handmade_region import level_of, near_objects, object_cells, square_anchors

from .given import Head

SIZE = (64, 64)
AWKWARD = {
    'ordinary': BOXES, 'none': ([], []), 'none in one': ([], BOXES[0]),
    'zero size': ([[20., 20., 20., 20.], [8., 9., 30., 9.]], [[0., 0., 0., 0.]]),
    'outside': ([[-30., -30., -10., -12.], [-20., 4., -9., 30.]], [[70., 70., 90., 90.]]),
    'on the border': ([[64., 64., 64., 64.], [64., 0., 70., 9.]], [[-5., -5., 0., 0.]]),
    'all of it': ([[0., 0., 64., 64.]], [[-90., -90., 200., 200.]]),
    'large': ([[-1e6, -1e6, 1e6, 1e6]], [[1., 1., 900., 2.]])}
every_batch = pytest.mark.parametrize('found', AWKWARD.values(), ids=AWKWARD)


def tensors(found):
    return [torch.tensor(of_image).reshape(-1, 4) for of_image in found]


def sides(shape=(2, 3), dtype=torch.float64, strides=STRIDES, size=64):
    students, teachers = (
        [x.to(dtype) for x in pyramid(shape[1], shape[0], size, seed, strides)] for seed in (0, 1))
    return [x.requires_grad_() for x in students], teachers


def rpn(name='RPNHead', **options):
    return dense_head(Detector(rpn_head=build_head(name, num_classes=1, **options)))


# ---- FGFI ----------------------------------------------------------------------------
@every_batch
@pytest.mark.parametrize('plus_one', [False, True])
@pytest.mark.parametrize('form', ['original', 'fpn'])
def test_fgfi_is_the_error_near_objects(found, form, plus_one):
    students, teachers = sides()
    head, expected = rpn(), 0.
    anchors = head.anchors(sizes_of(teachers))
    for i, (s, t) in enumerate(zip(students, teachers, strict=True)):
        mask = np.stack([near_objects(
            anchors[i].numpy(), [box for box in of_image
                                 if form == 'original' or level_of(box, 3) == i],
            tuple(s.shape[2:]), extra=float(plus_one)) for of_image in found])
        error = (mask[:, None] * ((s - t) ** 2).detach().numpy()).sum()
        expected += error / max(2 * mask.sum() * (1 if form == 'original' else 3), 1) / 3
    loss = FGFILoss(form=form, plus_one=plus_one)
    value = loss(students, teachers, tensors(found), SIZE, head, STRIDES)
    assert value.item() == pytest.approx(expected, rel=1e-9)
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, students))


def test_fgfi_of_one_map_finds_its_stride():
    students, teachers = sides()
    expected = FGFILoss()([students[1]], [teachers[1]], tensors(BOXES), SIZE, rpn(), [16])
    assert FGFILoss()(students[1], teachers[1], tensors(BOXES), SIZE, rpn()) == expected
    assert FGFILoss()(students[1], teachers[1], tensors(BOXES), SIZE, rpn(), None) == expected


@pytest.mark.parametrize('width, cells, stride', [(64, 4, 16), (100, 7, 16), (100, 13, 8),
                                                  (40, 1, 32), (60, 1, 64), (5, 5, 1), (3, 0, 4)])
def test_the_stride_of_one_map_is_the_nearest_power_of_two(width, cells, stride):
    assert nearest_stride(torch.zeros(1, 1, 2, cells), (99, width)) == stride


def test_fgfi_with_phi_zero_takes_all_that_overlaps():
    _, teachers = sides()
    loose, strict = (FGFILoss(phi)([x.requires_grad_() for x in sides()[0]], teachers,
                                   tensors(BOXES), SIZE, rpn(), STRIDES) for phi in (0., .9))
    assert loose != strict
    masks = {phi: FGFILoss(phi).masks(sizes_of(teachers), tensors(BOXES), STRIDES, rpn())
             for phi in (0., .5, .9)}
    for wide, narrow in ((0., .5), (.5, .9)):
        assert all((a >= b).all() for a, b in zip(masks[wide], masks[narrow], strict=True))
    assert masks[0.][0].sum() > masks[.5][0].sum() > masks[.9][0].sum() > 0


def test_fgfi_does_not_depend_on_the_crowd_being_cut_into_parts():
    random = torch.rand(2, 70, 4) * 40
    random[..., 2:] += random[..., :2]
    head, sizes = rpn(), [(8, 8), (4, 4), (2, 2)]
    masks = FGFILoss().masks(sizes, list(random), STRIDES, head)
    for i, boxes in enumerate(random):
        alone = [FGFILoss().masks(sizes, [box[None]], STRIDES, head) for box in boxes]
        for level, mask in enumerate(masks):
            assert torch.equal(mask[i], torch.stack([m[level][0] for m in alone]).any(0))


def test_fgfi_needs_anchors_of_the_tapped_levels():
    students, teachers = sides()
    with pytest.raises(ValueError, match=r'none of stride 4.*levels'):
        FGFILoss()(students, teachers, tensors(BOXES), SIZE, rpn(), [4, 8, 16])
    points = dense_head(Detector(bbox_head=build_head('FCOSHead')))
    with pytest.raises(ValueError, match='no anchors'):
        FGFILoss()(students, teachers, tensors(BOXES), SIZE, points, STRIDES)
    # of more levels than are tapped, those of the right strides
    some = FGFILoss()(students[1:], teachers[1:], tensors(BOXES), SIZE, rpn(), STRIDES[1:])
    anchors = rpn().anchors([(1, 1), (4, 4), (2, 2)])
    mask = near_objects(anchors[1].numpy(), BOXES[0], (4, 4))
    found = FGFILoss().masks([(4, 4), (2, 2)], tensors(BOXES), STRIDES[1:], rpn())
    assert some > 0 and (found[0][0].numpy() == mask).all()


@pytest.mark.parametrize('name', ['RetinaHead', 'ATSSHead', 'GFLHead'])
def test_fgfi_takes_the_anchors_of_every_family(name):
    students, teachers = sides()
    head = dense_head(Detector(bbox_head=build_head(name)))
    assert FGFILoss()(students, teachers, tensors(BOXES), SIZE, head, STRIDES) > 0


@pytest.mark.parametrize('arguments, word', [
    (dict(form='pyramid'), 'form'), (dict(phi=1.), 'phi'), (dict(phi=-.1), 'phi')])
def test_fgfi_rejects_bad_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        FGFILoss(**arguments)


# ---- DeFeat --------------------------------------------------------------------------
@every_batch
def test_defeat_divides_objects_and_background_by_their_own_cells(found):
    students, teachers = sides()
    loss = DeFeatLoss(fg_weight=2., bg_weight=5.)
    value = loss(students, teachers, tensors(found), SIZE, STRIDES)
    masks = loss.masks(sizes_of(teachers), tensors(found), STRIDES)
    expected = np.zeros(2)
    for s, t, mask in zip(students, teachers, masks, strict=True):
        for part, (weight, cells) in enumerate(((2., mask), (5., ~mask))):
            errors = [float((s[n, :, y, x] - t[n, :, y, x]).square().sum())
                      for n, y, x in cells.nonzero().tolist()]
            expected[part] += weight * sum(errors) / max(1, 2 * 3 * len(errors)) / 3
    assert value['fg'].item() == pytest.approx(expected[0], rel=1e-9)
    assert value['bg'].item() == pytest.approx(expected[1], rel=1e-9)
    for part in value.values():
        gradients = torch.autograd.grad(part, students, retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_defeat_draws_an_object_on_its_level_only():
    boxes = [torch.tensor([[4., 8., 40., 30.], [0., 0., 150., 100.]])]
    fine, coarse = DeFeatLoss().masks([(20, 20), (10, 10)], boxes, [8, 16])
    assert (fine[0].double().numpy() == object_cells([[4, 8, 40, 30]], 8, (20, 20))).all()
    assert (coarse[0].double().numpy() == object_cells([[0, 0, 150, 100]], 16, (10, 10))).all()


def test_a_box_that_covers_all_leaves_no_background():
    students, teachers = sides(strides=[8])
    value = DeFeatLoss()(students, teachers, tensors([[[0., 0., 64., 64.]]] * 2), SIZE, [8])
    assert value['bg'] == 0 and value['fg'] > 0
    gradient, = torch.autograd.grad(value['bg'], students)
    assert not gradient.any()


# ---- both ----------------------------------------------------------------------------
def both(students, teachers, boxes, strides=STRIDES, size=SIZE):
    return (FGFILoss(form='fpn')(students, teachers, boxes, size, Head((8, 16, 32)), strides),
            sum(DeFeatLoss()(students, teachers, boxes, size, strides).values()))


def test_levels_batches_and_channels_must_agree():
    students, teachers = sides()
    for change, message in (
            (lambda: (students, teachers[:2]), '3 levels, teacher 2'),
            (lambda: (students, [x[:1] for x in teachers]), 'batch of 2, teacher of 1'),
            (lambda: (students, [x[:, :2] for x in teachers]), '3 channels, teacher 2'),
            (lambda: ([], []), 'at least one')):
        for call in (lambda s, t: FGFILoss()(s, t, tensors(BOXES), SIZE, rpn(), STRIDES),
                     lambda s, t: DeFeatLoss()(s, t, tensors(BOXES), SIZE, STRIDES)):
            with pytest.raises(ValueError, match=message):
                call(*change())


def test_other_sizes_are_resized():
    students, teachers = sides()
    smaller = [torch.nn.functional.avg_pool2d(x, 2).detach().requires_grad_() for x in students]
    resized = [torch.nn.functional.interpolate(x, t.shape[2:], mode='bilinear')
               for x, t in zip(smaller, teachers, strict=True)]
    for a, b in zip(both(smaller, teachers, tensors(BOXES)),
                    both(resized, teachers, tensors(BOXES)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_pyramids_are_computed_in_float32(dtype):
    students, teachers = sides(dtype=dtype)
    wide = [[x.detach().double() for x in side] for side in (students, teachers)]
    for value, exact in zip(both(students, teachers, tensors(BOXES)),
                            both(*wide, tensors(BOXES)), strict=True):
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact.item(), rel=1e-5)
        assert torch.autograd.grad(value, students)[0].dtype == dtype
    with torch.autocast('cpu', torch.bfloat16):
        inside = both(students, teachers, tensors(BOXES))
    assert inside[0] == both(students, teachers, tensors(BOXES))[0]


def test_boxes_of_another_precision_and_of_ints():
    students, teachers = sides()
    expected = both(students, teachers, tensors(BOXES))
    for dtype in (torch.float64, torch.int64):
        values = both(students, teachers, [x.to(dtype) for x in tensors(BOXES)])
        for a, b in zip(values, expected, strict=True):
            assert a == b


def test_the_convolution_starts_almost_silent():
    torch.manual_seed(0)
    connector = ConvConnector(16, 16, 3, init_std=1e-4)
    assert 0 < connector.conv.weight.abs().max() <= 2e-4
    assert connector.conv.weight.std().item() == pytest.approx(.88e-4, rel=.05)
    assert ConvConnector(16, 16, 3).conv.weight.std() > 1e-2


def test_samples_give_the_boxes_that_are_meant():
    """The boxes of mmdet's samples are in pixels of the padded batch, as the losses expect."""
    students, teachers = sides()
    found = [sample.gt_instances.bboxes for sample in samples()]
    for a, b in zip(both(students, teachers, found), both(students, teachers, tensors(BOXES)),
                    strict=True):
        assert a == b


def test_near_objects_of_the_reference_counts_places_once():
    anchors = square_anchors((2, 2), 8)
    assert near_objects(anchors, [[0., 0., 8., 8.]] * 2, (2, 2)).max() == 1
