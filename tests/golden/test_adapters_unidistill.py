"""The adapter of UniDistill against loops, with rows of padding, and files that are broken."""
import json

import numpy as np
import pytest
import torch

from tests.golden.handmade_3d import write_bare
from tests.golden.handmade_bev import _radius
from tests.golden.replay import main, replay
from tests.models.losses.test_unidistill import METRES, SIZE, expected

ARGS = {'point_cloud_range': [-4., -6., -5., 4., 2., 3.], 'voxel_size': [.125, .125, .2],
        'out_size_factor': 8, 'min_overlap': .7, 'teacher_temperature': 2,
        'sigmoid_clamp': 1e-4, 'tasks': [1, 2]}
BOXES = [[[-1.2, -1.3, 0., 3.1, 1.7, 1., .4], [1.4, -3.2, 1., 2.2, 1.2, 2., 2.]],
         [[.3, -2.1, 0., 4., 3., 1., .7]]]
#: centers beyond the map: by less than a cell, by less than the radius of 5 and of 4, by more
OUTSIDE = [[[-4.4, -1.3, 0., 3., 1.7, 1., .3], [-5.6, 2.7, 0., 22., 18., 1., .2]],
           [[40., 2., 0., 4., 2., 1., 0.], [1.4, -7.3, 0., 12., 22., 1., 1.]]]
WEIGHTS = {'camera_from_lidar': (100, 40, 10), 'lidar_from_camera': (10, 5, 1)}


def gaussians(rows):
    drawn = np.zeros((len(rows), *SIZE))
    for b, some in enumerate(rows):
        for x, y, _, dx, dy, *_ in some:
            column, row = int(x - METRES[0]), int(y - METRES[1])  # cells of 1 m
            radius = int(_radius(dx, dy, .7)) if dx and dy else 0
            for i, j in np.ndindex(SIZE):
                if max(abs(i - row), abs(j - column)) <= radius:
                    sigma = (2 * radius + 1) / 6
                    value = np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma ** 2))
                    drawn[b, i, j] = max(drawn[b, i, j], value)
    return drawn


def unidistill_arrays(boxes=BOXES, rows=3, weights=WEIGHTS['camera_from_lidar']):
    generator = torch.Generator().manual_seed(7)

    def draw(*shape, leaf=False):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(leaf)

    padded = torch.zeros(len(boxes), rows, 10, dtype=torch.float64)
    kept = np.zeros((len(boxes), rows), dtype=bool)
    for b, some in enumerate(boxes):
        padded[b, :len(some), :7] = torch.tensor(some, dtype=torch.float64).reshape(-1, 7)
        kept[b, :max(len(some), 1)] = True  # the first row of padding counts as a box
    given = {f'{side}_{tap}': draw(2, channels, *SIZE, leaf=side == 'student')
             for tap, channels in (('bev', 3), ('enc', 4)) for side in ('student', 'teacher')}
    for task, classes in enumerate((1, 2)):
        given |= {f'teacher_hm.task{task}': draw(2, classes, *SIZE),
                  f'student_hm.task{task}': draw(2, classes, *SIZE).sigmoid().requires_grad_()}
        given |= {f'{side}_reg.task{task}': draw(2, 5, *SIZE, leaf=side == 'student')
                  for side in ('student', 'teacher')}
    near = [padded[b, kept[b], :7] for b in range(2)]
    losses = {'loss_feature': expected('feature', given['student_bev'], given['teacher_bev'],
                                       near, True),
              'loss_bev_rel': expected('relation', given['student_enc'], given['teacher_enc'],
                                       near, True)}
    mask = torch.tensor(gaussians(padded.tolist()))
    heat, reg = ([torch.cat([given[f'{side}_{tap}.task{i}'] for i in range(2)], 1)
                  for side in ('student', 'teacher')] for tap in ('hm', 'reg'))
    teacher = (heat[1] / 2).sigmoid()
    losses['loss_resp_cls'] = (mask * (heat[0].amax(1) - teacher.amax(1)).abs()).sum() / (
        mask.sum() + 1e-4)
    losses['loss_resp_reg'] = (mask * (reg[0] - reg[1]).abs().mean(1)).sum() / (mask.sum() + 1e-4)
    total = sum(w * value for w, value in zip((*weights, weights[2]), losses.values(), strict=True))
    students = [name for name in given if name.startswith('student')]
    gradients = torch.autograd.grad(total, [given[name] for name in students])
    arrays = dict(given, **losses, loss_total=total, gaussian_mask=mask, gt_boxes=padded)
    arrays |= {f'grad_{name}': g for name, g in zip(students, gradients, strict=True)}
    return {key: value.detach().numpy() for key, value in arrays.items()} | {'gt_indices': kept}


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('boxes', [BOXES, [BOXES[0], []], [[], []], OUTSIDE],
                         ids=['ordinary', 'one without', 'none', 'outside'])
def test_unidistill(tmp_path, dtype, boxes):
    path = write_bare(tmp_path, 'unidistill_some_kind', ARGS, unidistill_arrays(boxes), dtype)
    _, error, _, problems = replay(path)
    assert not problems and error < (1e-4 if dtype == np.float32 else 1e-6)


@pytest.mark.parametrize('pair, file', [
    ('lidar_from_camera', 'BEVFusion_nuscenes_centerhead_lidar_exp_distill_camera.py'),
    ('camera_from_lidar', 'BEVFusion_nuscenes_centerhead_camera_exp_distill_lidar.py')])
def test_the_official_file_says_who_teaches_whom(tmp_path, capsys, pair, file):
    arrays = unidistill_arrays(weights=WEIGHTS[pair])
    path = write_bare(tmp_path, 'unidistill_pair', dict(ARGS, weights=WEIGHTS), arrays, np.float64)
    info = json.loads(path.read_text())
    path.write_text(json.dumps(dict(info, source=f'megvii-research/CVPR2023-UniDistill:{file}')))
    assert not replay(path)[3]
    path.write_text(json.dumps(dict(info, source='camera_exp_distill_fusion.py')))
    assert main([str(path)]) == 1
    assert 'no weights of camera_from_fusion' in capsys.readouterr().err


@pytest.mark.parametrize('args, drop, message', [
    ({'point_cloud_range': None}, (), 'point_cloud_range is missing'),
    ({'warmth': 1.}, (), 'does not know the official argument(s) warmth'),
    ({}, ('gt_indices',), 'gt_indices is missing'), ({'min_overlap': .1}, (), 'gaussian_mask'),
    ({}, ('teacher_hm.task0', 'teacher_hm.task1'), 'no teacher_hm.task0 is recorded')])
def test_a_broken_case_of_unidistill_fails(tmp_path, capsys, args, drop, message):
    arrays = {key: value for key, value in unidistill_arrays().items() if key not in drop}
    path = write_bare(tmp_path, 'unidistill_some_kind', {**ARGS, **args}, arrays, np.float64)
    assert main([str(path)]) == 1
    assert message in capsys.readouterr().err
