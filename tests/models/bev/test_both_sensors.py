"""An object's cell is the same in the maps of both sensors and in the targets, under every
augmentation of the scene: no map is ever flipped."""
import copy

import numpy as np
import pytest
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes, LiDARPoints
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmkd.datasets.transforms import BEVAug
from mmkd.models.libraries.mmdet3d_heads import center_head
from tests.detectors3d import centerpoint
from tests.helpers import build
from tests.models.bev.rigs import CELL, CLASSES, RANGE, SIZE, augmented, cameras_of, rig, tiny_model

STILL = dict(rot_range=(0, 0), scale_ratio_range=(1, 1), flip_x=0, flip_y=0)
AUGS = dict(
    none=STILL, rotation=dict(STILL, rot_range=(-3., 3.)),
    scale=dict(STILL, scale_ratio_range=(.7, 1.3)),
    shift=dict(STILL, translation_std=(3., 3., .1)), flip_x=dict(STILL, flip_x=1),
    flip_y=dict(STILL, flip_y=1), both_flips=dict(STILL, flip_x=1, flip_y=1),
    all=dict(rot_range=(-3., 3.), scale_ratio_range=(.7, 1.3), translation_std=(3., 3., .1)))
LOW, HIGH = (torch.tensor(part, dtype=torch.float64) for part in ((RANGE[0], RANGE[1]),
                                                                (RANGE[3], RANGE[4])))
PLACES = [(camera, i, row, column) for camera in range(6) for i in (2, 5, 9, 14)
          for row, column in ((1, 3), (2, 8))]  # of the pixels and depths that are lifted


@pytest.fixture(scope='module')
def networks():
    """A camera student and a LiDAR teacher whose maps have the same cells."""
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        student = build(tiny_model())
        teacher = build(centerpoint(area=RANGE, size=CELL[0], tasks=(CLASSES[:4], CLASSES[4:])))
    return student.eval(), teacher.eval()


def lifted(view, meta):
    """(N, D, H, W, 3) places that the student lifts pixels to."""
    features = torch.zeros(6, 16, SIZE[0] // 16, SIZE[1] // 16)
    return view.geometry(cameras_of(meta), SIZE, features)[0]


def seen_by_cameras(view, meta, place):
    """The cells [y, x] of the student's map that a pixel of one depth gets into."""
    camera, depth, row, column = place
    features = torch.zeros(6, 16, SIZE[0] // 16, SIZE[1] // 16)
    features[camera, 0, row, column] = 1.
    with torch.no_grad():
        view.depth_net.weight.zero_()
        view.depth_net.bias.zero_()
        view.depth_net.weight[depth, 0] = 1e4
        view.depth_net.weight[view.bins, 0] = 1.
        return view(features, cameras_of(meta), SIZE)[0][0, 0].nonzero().tolist()


def seen_by_lidar(teacher, points):
    """The cells [y, x] of the teacher's map that points get into."""
    data = teacher.data_preprocessor(dict(inputs=dict(points=[points]),
                                          data_samples=[Det3DDataSample()]), False)
    voxels = data['inputs']['voxels']
    ones = torch.ones(len(voxels['coors']), 8)
    return teacher.pts_middle_encoder(ones, voxels['coors'], 1)[0, 0].nonzero().tolist()


def learned(student, boxes):
    """The cells [y, x] where the student is to find objects."""
    sample = Det3DDataSample(gt_instances_3d=InstanceData(
        bboxes_3d=boxes, labels_3d=torch.zeros(len(boxes), dtype=torch.long)))
    return (center_head(student).bind([sample]).heatmaps()[0][0, 0] == 1).nonzero().tolist()


@pytest.mark.parametrize('aug', AUGS)
def test_an_object_is_in_one_cell_of_all_maps(networks, aug):
    student, teacher = networks
    view, found = student.img_view_transformer, []
    before = augmented(rig())
    before['lidar_aug_matrix'] = np.eye(4)
    at = lifted(view, before)
    for seed, place in enumerate(PLACES):
        np.random.seed(seed)
        spot = at[place[0], place[1], place[2], place[3]]
        box = torch.cat([spot, torch.tensor([4., 2., 1.5, .3, 1., 0.])])[None]
        results = BEVAug(**AUGS[aug])(dict(
            points=LiDARPoints(torch.cat([spot, torch.zeros(2)])[None].clone(), points_dim=5),
            gt_bboxes_3d=LiDARInstance3DBoxes(box, box_dim=9, origin=(.5, .5, .5))))
        meta = dict(copy.copy(before), lidar_aug_matrix=results['lidar_aug_matrix'])
        points, boxes = results['points'].tensor, results['gt_bboxes_3d']
        where = (points[0, :2].double() - LOW) / CELL[0]
        inside = bool(((where >= 0) & (where < (HIGH - LOW) / CELL[0])).all()
                      and RANGE[2] + .1 < points[0, 2] < RANGE[5] - .1)
        if (where - where.round()).abs().min() < 1e-2 or not inside:
            continue  # on a border, which float32 decides; or not on the map
        cell = where.floor().long().flip(0).tolist()
        assert seen_by_cameras(view, meta, place) == [cell], place
        assert seen_by_lidar(teacher, points) == [cell], place
        assert learned(student, boxes) == [cell], place
        found.append(tuple(cell))
    assert len(set(found)) > 10


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('cells', [-.9, -.1])
def test_what_is_just_below_the_map_is_in_no_map(networks, axis, cells):
    """Truncated instead of rounded down it would be in the first cells. (mmdet3d's head truncates
    the centers of its targets; ObjectRangeFilter drops such boxes.)"""
    student, teacher = networks
    view, meta, place = student.img_view_transformer, rig(), (0, 5, 1, 5)
    spot = lifted(view, meta)[place]
    shift = np.eye(4)
    shift[axis, 3] = RANGE[axis] + cells * CELL[axis] - float(spot[axis])
    moved = spot.clone()
    moved[axis] += shift[axis, 3]
    assert moved[axis] < RANGE[axis]
    meta['lidar_aug_matrix'] = shift
    assert seen_by_cameras(view, meta, place) == []
    inside = torch.tensor([[0.5, 0.5, 0., 0., 0.]])  # a teacher wants a point
    points = torch.cat([inside, torch.cat([moved, torch.zeros(2)])[None]])
    assert seen_by_lidar(teacher, points) == seen_by_lidar(teacher, inside)
