"""One moment of a drive, made of random numbers: images, points and boxes as a data loader gives
them. Part of ``benchmarks/bev_step.py``."""
import math

import torch
from bev_volume import CAMERAS, cameras_around
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData

BOXES, CLASSES = 40, 10


def scene(samples, image_size, points, reach):
    """A batch: ``samples`` times six images (height, width), so many points and 40 boxes within
    ``reach`` metres."""
    random = torch.Generator().manual_seed(0)
    inputs, found = dict(img=[], points=[]), []
    for number in range(samples):
        boxes = _boxes(random, reach)
        inputs['img'].append(torch.randint(0, 256, (CAMERAS, 3, *image_size), generator=random,
                                           dtype=torch.uint8))
        inputs['points'].append(_points(boxes, points, reach, random))
        sample = Det3DDataSample(metainfo=dict(
            cameras_around(image_size), sample_idx=number, box_type_3d=LiDARInstance3DBoxes,
            box_mode_3d=0))
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9),
            labels_3d=torch.randint(0, CLASSES, (BOXES,), generator=random))
        found.append(sample)
    return dict(inputs=inputs, data_samples=found)


def _boxes(random, reach):
    """(40, 9) cars, trucks and pedestrians on the ground."""
    kinds = torch.tensor([[4.6, 1.9, 1.7], [8., 2.6, 3.], [.7, .7, 1.8]])
    size = kinds[torch.randint(3, (BOXES,), generator=random)]
    where = reach * (2 * torch.rand(BOXES, 2, generator=random) - 1)
    turn = math.pi * (2 * torch.rand(BOXES, 1, generator=random) - 1)
    speed = torch.randn(BOXES, 2, generator=random)
    return torch.cat([where, torch.full((BOXES, 1), -1.8), size, turn, speed], 1)


def _points(boxes, count, reach, random):
    """(P, 5) x, y, z, intensity, age: dense near the sensor, a hundredth of them in the boxes."""
    u = torch.rand(count, 4, generator=random)
    distance, turn = 2 + reach * u[:, 0] ** 2, 2 * math.pi * u[:, 1]
    points = torch.stack([distance * turn.cos(), distance * turn.sin(), 3 * u[:, 2] - 2,
                          255 * u[:, 3], .5 * u[:, 2]], 1)
    of_box = torch.randint(BOXES, (count // 100,), generator=random)
    within = torch.rand(len(of_box), 3, generator=random) - torch.tensor([.5, .5, 0.])
    points[:len(of_box), :3] = boxes[of_box, :3] + within * boxes[of_box, 3:6].amin(1, True)
    return points
