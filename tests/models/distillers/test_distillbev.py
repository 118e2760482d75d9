"""DistillBEV on small detectors: what it asks for, grids that differ, false positives."""
import pytest
import torch

from mmkd.apis import join_recipes
from mmkd.models.losses.bev import distillbev
from tests.detectors3d import bev_batch, bev_distiller, centerpoint, pointpillars
from tests.helpers import build

from .test_bev_detectors import _scope, camera, lidar, losses_of, step, wide_batch  # noqa: F401

RECIPES = ('distillbev', 'distillbev_bevformer', 'distillbev_fp')


def terms_of(recipe, **changes):
    terms = join_recipes(f'det3d/{recipe}')
    terms['feature']['loss'].update(changes)
    return terms


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('samples, boxes', [(2, 3), (1, 2), (2, 0)])
def test_a_camera_learns_from_lidar(recipe, samples, boxes):
    model = build(bev_distiller(terms_of(recipe), camera(), lidar()))
    log = step(model, wide_batch(samples=samples, boxes=boxes))
    names = {'fg', 'bg', 'spatial'} | ({'channel'} if 'bevformer' not in recipe else set()) | (
        {'fp'} if 'fp' in recipe else set())
    assert {key.removeprefix('loss_feature_') for key in log if 'feature' in key} == names
    # An untrained network sees an object in every cell, so there may be no background.
    outside = log['loss_feature_bg'] + log.get('loss_feature_fp', 0)
    assert outside > 0 and (log['loss_feature_fg'] > 0) == (boxes > 0)
    assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_any_head_will_do_without_false_positives():
    pair = pointpillars(), pointpillars(16)
    model = build(bev_distiller(terms_of('distillbev'), *pair))
    assert model.distiller.feature.wants == ['boxes_3d', 'bev_range']
    assert step(model, bev_batch(features=4, code=7))['loss_feature_fg'] > 0
    with pytest.raises(ValueError, match="no 'heatmap'"):
        build(bev_distiller(terms_of('distillbev_fp'), *pair))


def test_false_positives_are_found_in_logits(monkeypatch):
    """mmdet3d's head puts a sigmoid over its heatmaps, in place; what is compared is before it."""
    seen, found = [], distillbev.false_positives
    model = build(bev_distiller(terms_of('distillbev_fp'), centerpoint(), centerpoint(16)))

    def remember(*args):
        seen[:] = args
        return found(*args)

    monkeypatch.setattr(distillbev, 'false_positives', remember)
    step(model, bev_batch())
    _, foreground, gt, teacher, student, *_ = seen
    assert foreground.shape == (2, 8, 8) and gt.shape == teacher.shape == (2, 3, 8, 8)
    assert gt.max() == 1 and gt.min() >= 0 and student.min() < 0 and teacher.min() < 0


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('area, size', [
    ((-24., -48., -5., 40., 32., 3.), 1.), ((-32., -48., -5., 32., 48., 3.), 2.)])
def test_grids_that_differ(recipe, area, size):
    """In range, or in the size of the cells; heatmaps and boxes stay where they are."""
    model = build(bev_distiller(terms_of(recipe), camera(), lidar(area, size=size)))
    log = step(model, wide_batch(boxes=6))
    assert log['loss_feature_bg'] + log.get('loss_feature_fp', 0) > 0


def test_boxes_are_drawn_on_the_area_that_is_compared():
    """The cells of a box are those of the student's own map, cut to the teacher's range."""
    area = (-24., -48., -5., 40., 32., 3.)
    whole, cut = (build(bev_distiller(terms_of('distillbev'), camera(), lidar(part)))
                  for part in ((-32., -48., -5., 32., 48., 3.), area))
    boxes = [torch.tensor([[3., -7., 0., 9., 5., 2., .4], [29., 40., 0., 4., 9., 2., .1]])]
    masks = []
    for model in (whole, cut):
        metres = model.distiller.feature.alignment.area
        size = [round((metres[i + 2] - metres[i]) / 2) for i in (1, 0)]
        masks.append(model.distiller.feature.loss.masks(boxes, metres, size)[0][0] > 0)
    assert masks[0].sum() > masks[1].sum() > 5
    assert torch.equal(masks[0][:40, 4:], masks[1])
