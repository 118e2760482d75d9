"""Maps of other ranges and cells are compared where both have something, tasks by their classes."""
import pytest
import torch

from tests.detectors3d import bev_batch, bev_distiller, centerpoint
from tests.helpers import build
from tests.models.bev.rigs import CLASSES
from tests.models.bev.rigs import RANGE as WIDE

from .test_bev_detectors import ALL, FEATURE, _scope, camera, lidar, losses_of, step, wide_batch  # noqa: F401


def test_a_teacher_of_another_range_is_compared_where_both_have_something():
    """Heatmaps of the boxes are cut as the student's maps are."""
    area = (-24., -48., -5., 40., 32., 3.)
    terms = dict(heat=dict(tap='heatmap', loss=dict(type='mmkd.SeesAll')))
    model = build(bev_distiller(terms, camera(), lidar(area)))
    step(model, wide_batch(boxes=6))
    seen = model.distiller.heat.loss.seen
    assert seen['area'] == (-24., -48., 32., 32.)
    for maps in (seen['student'], seen['teacher'], seen['heatmaps']):
        assert [tuple(x.shape) for x in maps] == [(2, 4, 40, 28), (2, 6, 40, 28)]
    whole = model.student.pts_bbox_head.get_targets(
        [sample.gt_instances_3d for sample in wide_batch(boxes=6)['data_samples']])[0]
    for cut, one in zip(seen['heatmaps'], whole, strict=True):
        torch.testing.assert_close(cut, one[..., :40, 4:])


def test_a_box_is_at_the_same_cell_of_both_networks():
    """The peaks of the teacher's own targets, read as its maps are, are where the student's are."""
    area = (-24., -40., -5., 40., 56., 3.)
    terms = dict(heat=dict(tap='heatmap', loss=dict(type='mmkd.SeesAll')))
    model = build(bev_distiller(terms, camera(), lidar(area, size=0.5)))
    student, teacher = model.student.pts_bbox_head, model.teachers['teacher'].model.pts_bbox_head
    assert model.distiller.heat.alignment.area == (-24., -40., 32., 48.)
    truth = [sample.gt_instances_3d for sample in bev_batch(
        boxes=1, area=(-20., -38., -3., 30., 46., 1.), samples=4)['data_samples']]
    mine, theirs = (torch.cat(head.get_targets(truth)[0], 1) for head in (student, teacher))
    s, t = model.distiller.heat.alignment([mine], [theirs])
    for one, other in zip(s[0].flatten(2).amax(1), t[0].flatten(2).amax(1), strict=True):
        place, near = (divmod(int(x.argmax()), 28) for x in (one, other))
        assert max(abs(a - b) for a, b in zip(place, near, strict=True)) <= 1


def test_ranges_without_anything_in_common():
    with pytest.raises(ValueError, match="term 'feature': .*less than one cell of the student"):
        build(bev_distiller(FEATURE, camera(), lidar((40., -48., -5., 80., 48., 3.))))


def test_classes_in_another_order():
    terms = dict(heat=ALL['heat'], boxes=ALL['boxes'])
    names = ('truck', 'car', *CLASSES[2:4])
    model = build(bev_distiller(terms, camera(), lidar()))
    other = lidar()
    other.pts_bbox_head.tasks = [dict(num_class=6, class_names=list(CLASSES[4:])),
                                 dict(num_class=4, class_names=list(names))]
    swapped = build(bev_distiller(terms, camera(), other))
    # The same network, its tasks and the rows of its last layers put into the other order.
    mine, theirs = (m.teachers['teacher'].model for m in (model, swapped))
    state = mine.state_dict()
    swap = {'pts_bbox_head.task_heads.0.': 'pts_bbox_head.task_heads.1.',
            'pts_bbox_head.task_heads.1.': 'pts_bbox_head.task_heads.0.'}
    moved = {}
    for key, value in state.items():
        start = next((s for s in swap if key.startswith(s)), '')
        if start == 'pts_bbox_head.task_heads.0.' and 'heatmap.1.' in key:
            value = value[[1, 0, 2, 3]]
        moved[swap.get(start, start) + key[len(start):]] = value
    theirs.load_state_dict(moved)
    swapped.student.load_state_dict(model.student.state_dict())
    ours, others = losses_of(model, wide_batch()), losses_of(swapped, wide_batch())
    for name in terms:
        torch.testing.assert_close(ours[f'loss_{name}'], others[f'loss_{name}'])


@pytest.mark.parametrize('tasks, term, message', [
    ((CLASSES,), 'heat', None), ((CLASSES,), 'boxes', 'share.* by its classes'),
    ((CLASSES[:4], CLASSES[4:9]), 'heat', 'does not know the classes traffic_cone')])
def test_tasks_that_differ(tasks, term, message):
    cfg = bev_distiller({term: ALL[term]}, camera(), centerpoint(area=WIDE, tasks=tasks))
    if message is None:
        assert step(build(cfg), wide_batch())[f'loss_{term}'] > 0
        return
    with pytest.raises(ValueError, match=f"term '{term}': .*{message}"):
        build(cfg)
