"""Range, voxel size and numbers of cells that do not fit each other are told when it is built."""
import pytest
import torch
from mmengine.registry import DefaultScope

from mmkd.models.libraries.mmdet3d_grids import check_grids, watch_maps
from tests.detectors3d import RANGE, bev_batch, bev_distiller, centerpoint, pointpillars
from tests.helpers import build

TERMS = dict(feature=dict(tap='bev', loss=dict(type='mmkd.FitNetLoss'),
                          student_connector=dict(type='mmkd.ConvConnector')))
SIDE = [-8., -4., -3., 8., 4., 1.]


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def change(model, **values):
    """``a__b=value`` sets model.a.b."""
    for path, value in values.items():
        *parts, last = path.split('__')
        owner = model
        for part in parts:
            owner = owner[part]
        owner[last] = value
    return model


@pytest.mark.parametrize('model', [centerpoint, pointpillars])
@pytest.mark.parametrize('area', [RANGE, SIDE])
def test_what_fits_passes(model, area):
    check_grids(build(model(area=area)), 'it')


@pytest.mark.parametrize('values, told', [
    (dict(pts_middle_encoder__output_shape=[32, 32]), 'set output_shape=(16, 16)'),
    (dict(pts_middle_encoder__output_shape=[16, 8]), 'set output_shape=(16, 16)'),
    (dict(pts_voxel_encoder__voxel_size=[.5, 1., 4]), 'pts_voxel_encoder.voxel_size is'),
    (dict(pts_voxel_encoder__point_cloud_range=[-8., -7.5, -3., 8., 8., 1.]),
     'pts_voxel_encoder.point_cloud_range is'),
    (dict(data_preprocessor__voxel_layer__voxel_size=[3., 1., 4.]), 'no whole numbers'),
    (dict(train_cfg__pts__out_size_factor=4), 'those of its test_cfg 2 x 2 m'),
    (dict(test_cfg__pts__voxel_size=[.5, .5]), 'those of its test_cfg 1 x 1 m'),
    (dict(pts_bbox_head__bbox_coder__voxel_size=[.5, .5]), 'those of its bbox_coder 1 x 1 m'),
    (dict(train_cfg__pts__grid_size=[32, 16, 1]), 'grid_size [32, 16] (x, y), but its'),
])
@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_what_does_not_fit_is_told_when_built(values, told, side):
    model = change(centerpoint(), **values)
    with pytest.raises(ValueError) as info:
        build(bev_distiller(TERMS, **{side: model}))
    assert told in str(info.value), str(info.value)
    assert str(info.value).startswith('this distillation cannot work') and side in str(info.value)


def test_a_grid_whose_axes_are_swapped_is_told():
    model = change(centerpoint(area=SIDE), pts_middle_encoder__output_shape=[16, 8])
    with pytest.raises(ValueError, match=r'is \(16, 8\), but .* make \(8, 16\) cells \(y, x\)'):
        check_grids(build(model), 'it')


def test_all_is_told_at_once():
    model = change(centerpoint(), pts_middle_encoder__output_shape=[32, 32],
                   train_cfg__pts__out_size_factor=4)
    with pytest.raises(ValueError) as info:
        build(bev_distiller(TERMS, model, change(
            centerpoint(), pts_voxel_encoder__voxel_size=[.5, .5, 4])))
    for part in ('output_shape', 'out_size_factor', 'pts_voxel_encoder.voxel_size'):
        assert part in str(info.value)


@pytest.mark.parametrize('shape, told', [
    ([5, 16, 16], None), ([4, 16, 16], None), ([3, 16, 16], 'set sparse_shape=(5, 16, 16)'),
    ([5, 16, 32], 'set sparse_shape=(5, 16, 16)')])
def test_a_sparse_shape(shape, told):
    model = build(change(pointpillars(), data_preprocessor__voxel_layer__voxel_size=[1., 1., 1.]))
    model.voxel_encoder, model.middle_encoder = None, torch.nn.Identity()
    model.middle_encoder.sparse_shape = shape
    if told is None:
        check_grids(model, 'it')
        return
    with pytest.raises(ValueError) as info:
        check_grids(model, 'it')
    assert told in str(info.value)


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_a_head_that_is_given_other_cells_than_it_says(side):
    model = centerpoint()
    for cfg in (model.train_cfg.pts, model.test_cfg.pts, model.pts_bbox_head.bbox_coder):
        cfg.out_size_factor = 4
    check_grids(build(model), 'it')
    with pytest.raises(ValueError, match=r'the head is given a map of 8 x 8 cells \(x, y\), but '
                                         r'its train_cfg says 4 x 4'):
        build(bev_distiller(TERMS, **{side: model}))


def test_nothing_is_left_on_the_head():
    model = build(centerpoint())
    with watch_maps(model):
        assert model.pts_bbox_head._forward_pre_hooks
    assert not model.pts_bbox_head._forward_pre_hooks


@pytest.mark.parametrize('side', ['student', 'teacher'])
@pytest.mark.parametrize('column, value', [(0, torch.nan), (2, -torch.inf), (3, torch.nan)])
def test_points_that_are_not_finite_are_refused(side, column, value):
    other = dict(student='teacher', teacher='student')[side]
    from tests.models.bev.rigs import SIZE, tiny_model
    camera = tiny_model()
    data = bev_batch(2, images=(6, *SIZE))
    data['inputs']['points'][1][5, column] = value
    model = build(bev_distiller(TERMS, **{side: centerpoint(), other: camera}))
    with pytest.raises(ValueError, match=f'{side} .* reads points, and in samples .1. of the '
                                         'batch .* some are not finite'):
        model(**model.data_preprocessor(data, True), mode='loss')


@pytest.mark.parametrize('side', ['student', 'teacher'])
@pytest.mark.parametrize('values', [4, 6])
def test_points_of_other_values_than_the_encoder_reads(side, values):
    from tests.models.bev.rigs import SIZE, tiny_model
    other = dict(student='teacher', teacher='student')[side]
    data = bev_batch(2, images=(6, *SIZE), features=values)
    model = build(bev_distiller(TERMS, **{side: centerpoint(features=5), other: tiny_model()}))
    with pytest.raises((ValueError, RuntimeError)) as info:
        model(**model.data_preprocessor(data, True), mode='loss')
    assert 'reads points of 5 values' in str(info.value), str(info.value)
    assert f'those of the batch have {values}: use_dim' in str(info.value)
