"""UniDistill's recipes on small detectors of LiDAR and of cameras."""
import pytest

from mmkd.apis import join_recipes
from tests.detectors3d import bev_distiller
from tests.helpers import build

from .test_bev_detectors import _scope, camera, fusion, lidar, step, wide_batch  # noqa: F401

PAIRS = dict(unidistill=(camera, lidar), unidistill_camera_fusion=(camera, fusion),
             unidistill_lidar_camera=(lidar, camera), unidistill_lidar_fusion=(lidar, fusion))
PARTS = ('feature', 'relation', 'response_cls', 'response_reg')


@pytest.mark.parametrize('recipe', PAIRS)
@pytest.mark.parametrize('samples, boxes', [(2, 3), (1, 0)])
def test_every_pair_takes_a_step(recipe, samples, boxes):
    student, teacher = (side() for side in PAIRS[recipe])
    model = build(bev_distiller(join_recipes(f'det3d/{recipe}'), student, teacher))
    log = step(model, wide_batch(samples=samples, boxes=boxes))
    assert all((log[f'loss_{part}'] > 0) == (boxes > 0) for part in PARTS)


@pytest.mark.parametrize('area, size', [((-24., -48., -5., 40., 32., 3.), 1.),
                                        ((-32., -48., -5., 32., 48., 3.), 2.)])
def test_grids_that_differ(area, size):
    model = build(bev_distiller(join_recipes('det3d/unidistill'), camera(),
                                lidar(area, size=size)))
    log = step(model, wide_batch(boxes=9))
    assert all(log[f'loss_{part}'] > 0 for part in PARTS)
