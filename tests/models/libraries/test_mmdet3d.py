"""What mmkd knows of mmdet3d's detectors: names, ranges, batches, and what losses may ask for."""
import subprocess
import sys

import pytest
import torch

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.recorder import Recorder
from tests.detectors3d import (
    RANGE,
    TASKS,
    bev_batch,
    centerpoint,
    fcos3d,
    pointpillars,
)
from tests.helpers import build
from tests.models.bev.rigs import tiny_model

MODELS = dict(centerpoint=centerpoint, pointpillars=pointpillars, fcos3d=fcos3d)
#: model -> name -> shapes, without the batch, of what it gives
SHAPES = dict(
    centerpoint=dict(bev=(16, 8, 8), bev_backbone=[(8, 8, 8), (16, 4, 4)], bev_input=(8, 16, 16),
                     heatmap=[(2, 8, 8), (1, 8, 8)], reg=[(10, 8, 8), (10, 8, 8)], voxels=(8,)),
    pointpillars=dict(bev=(16, 8, 8), bev_backbone=[(8, 8, 8), (16, 4, 4)], bev_input=(8, 16, 16),
                      cls=[(18, 8, 8)], box_reg=[(42, 8, 8)], dir_cls=[(12, 8, 8)], voxels=(8,)),
    fcos3d=dict(cls=[(10, n, n) for n in (32, 16, 8, 4, 2)],
                dir_cls=[(2, n, n) for n in (32, 16, 8, 4, 2)],
                centerness=[(1, n, n) for n in (32, 16, 8, 4, 2)],
                neck=[(16, n, n) for n in (32, 16, 8, 4, 2)],
                backbone=[(8 * n, 64 // n, 64 // n) for n in (2, 4, 8)]))


def dry_run(model, training, names=None):
    library = library_of(model)
    return DryRun(model, library, 'model', names or list(library.MEANINGS), training)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('kind', SHAPES)
def test_names(kind, training):
    run = dry_run(build(MODELS[kind]()), training)
    found = {name: [tuple(x.shape[1:]) for x in value] if isinstance(value, list)
             else tuple(value.shape[1:]) for name, value in run.examples.items()}
    assert found == SHAPES[kind]
    assert not training or not run.untrained
    lacking = next(name for name in run.errors)
    assert 'Models that have it' in run.errors[lacking]


#: of mmkd's own detectors on 6 cameras of 64 x 64 pixels, as (shape with the batch of 2)
BEV = dict(bev=(2, 16, 48, 32), bev_backbone=[(2, 8, 48, 32), (2, 16, 24, 16)],
           heatmap=[(2, 4, 48, 32), (2, 6, 48, 32)], reg=[(2, 10, 48, 32)] * 2)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('frames, view', [
    (1, {}), (2, {}), (2, dict(depth_supervision=dict(weight=3.))),
    (1, dict(depth_net=dict(type='mmkd.DepthNet', mid_channels=8),
             depth_supervision=dict(weight=3.)))])
def test_names_of_camera_detectors(frames, view, training):
    """Of two frames, those of images are this frame's: its three cameras come first."""
    run = dry_run(build(tiny_model(frames, **view)), training)
    images = 12 // frames
    expected = dict(
        BEV, bev_input=(2, 8 * frames, 48, 32), depth=(images, 20, 4, 4),
        neck=[(images, 16, 4, 4)], backbone=[(images, 32, 4, 4), (images, 64, 2, 2)])
    assert {name: [tuple(x.shape) for x in value] if isinstance(value, list)
            else tuple(value.shape) for name, value in run.examples.items()} == expected
    assert run.layouts['bev'].range == (-32., -48., 32., 48.) and run.layouts['depth'].range is None
    assert not training or not run.untrained
    torch.testing.assert_close(run.examples['depth'].sum(1), torch.ones(images, 4, 4))


def test_layouts():
    run = dry_run(build(centerpoint()), False)
    seen = (*RANGE[:2], *RANGE[3:5])
    assert {name: run.layouts[name].range for name in run.examples} == dict(
        dict.fromkeys(('bev', 'bev_backbone', 'bev_input', 'heatmap', 'reg'), seen), voxels=None)
    assert run.layouts['bev'].grid == (16, 16)
    assert run.layouts['heatmap'].tasks == run.layouts['reg'].tasks == TASKS
    assert run.layouts['heatmap'].by_class and not run.layouts['reg'].by_class
    paths = ['pts_backbone[1]', 'pts_neck.deblocks.0', 'pts_middle_encoder',
             'pts_middle_encoder:input', 'pts_voxel_encoder', 'heatmap[1:]']
    run = dry_run(build(centerpoint()), False, paths)
    assert [run.layouts[path].range for path in paths] == [seen] * 3 + [None] * 2 + [seen]
    assert run.layouts['heatmap[1:]'].tasks == TASKS[1:]


@pytest.mark.parametrize('training', [False, True])
def test_a_heatmap_is_of_logits_and_a_regression_in_order(training):
    """The head's loss puts the sigmoid in their place."""
    model = build(centerpoint())
    library, run = library_of(model), dry_run(model, training, ['heatmap', 'reg'])
    data = model.data_preprocessor(bev_batch(), True)
    given = {}
    handles = [layer.register_forward_hook(lambda _, __, value, key=(i, part): given.__setitem__(
        key, value.detach().clone())) for i, task in enumerate(model.pts_bbox_head.task_heads)
        for part, layer in task.named_children()]
    model.train(training)
    with Recorder(model, run.counts, run.clone) as recorder:
        if training:
            model(**data, mode='loss')
        else:
            library.forward(model, **data)
    for handle in handles:
        handle.remove()
    heat, reg = (run.taps[name].read(recorder.calls) for name in ('heatmap', 'reg'))
    for i in range(2):
        assert torch.equal(heat[i], given[i, 'heatmap']) and (heat[i] < 0).any()
        expected = [given[i, part] for part in ('reg', 'height', 'dim', 'rot', 'vel')]
        assert torch.equal(reg[i], torch.cat(expected, 1))


def test_the_forward_makes_no_boxes(monkeypatch):
    for make in (centerpoint, pointpillars):
        model = build(make()).eval()
        head = model.pts_bbox_head if make is centerpoint else model.bbox_head
        monkeypatch.setattr(type(head), 'predict_by_feat', None)
        batch = bev_batch(features=5 if make is centerpoint else 4)
        library_of(model).forward(model, **model.data_preprocessor(batch))


# ---- ranges -----------------------------------------------------------------------------------
def test_ranges():
    from mmkd.models.libraries.mmdet3d import bev_range
    seen = (*RANGE[:2], *RANGE[3:5])
    assert bev_range(build(centerpoint())) == bev_range(build(pointpillars())) == seen
    assert bev_range(build(fcos3d())) is None
    cfg = centerpoint()
    cfg.train_cfg.pts.pop('point_cloud_range')
    assert bev_range(build(cfg)) == seen


@pytest.mark.parametrize('who, change', [
    ("the head's bbox_coder", lambda cfg: cfg.pts_bbox_head.bbox_coder.update(pc_range=[-9., -8.])),
    ("the head's train_cfg",
     lambda cfg: cfg.train_cfg.pts.update(point_cloud_range=[-8, -8, -3, 8, 9, 1])),
    ("the head's test_cfg", lambda cfg: cfg.test_cfg.pts.update(pc_range=[-8., -7.]))])
def test_parts_that_disagree_are_named(who, change):
    from mmkd.models.libraries.mmdet3d import bev_range
    cfg = centerpoint()
    change(cfg)
    with pytest.raises(ValueError, match=f'the voxel layer says .* but {who} says'):
        bev_range(build(cfg))


# ---- batches ----------------------------------------------------------------------------------
@pytest.mark.parametrize('features', [3, 4, 5, 6])
def test_points_have_as_many_numbers_as_the_encoder_wants(features):
    model = build(centerpoint(features=features))
    library = library_of(model)
    assert library.input_channels(model)[0] == features
    inputs, samples = library.make_batch(model, None)
    assert inputs['points'][0].shape[1] == features and set(inputs) == {'points', 'voxels'}
    low, high = torch.tensor(RANGE).split(3)
    for points in inputs['points']:
        assert ((points[:, :3] > low) & (points[:, :3] < high)).all()
    assert [sample.gt_instances_3d.bboxes_3d.tensor.shape for sample in samples] == [(3, 9)] * 2


def test_what_a_model_reads():
    camera = tiny_model()
    both = centerpoint(img_backbone=camera['img_backbone'])
    reads = [library_of(model).reads(model) for model in map(build, (
        centerpoint(), pointpillars(), fcos3d(), camera, both))]
    assert reads == [('points',), ('points',), ('imgs',), ('imgs',), ('points', 'imgs')]


def test_missing_modalities_and_empty_sweeps_are_told():
    model = build(centerpoint())
    check = library_of(model).check_batch
    data = model.data_preprocessor(bev_batch(), True)
    check(model, 'the student', **data)
    without = dict(data, inputs=dict(imgs=torch.zeros(2, 3, 8, 8)))
    with pytest.raises(ValueError, match=r'the student \(CenterPoint\) reads points, and the batch '
                                         r'has none \(it has imgs.*LoadPointsFromFile'):
        check(model, 'the student', **without)
    for sample, points in ((1, torch.zeros(0, 5)), (1, torch.full((9, 5), 1e4)),
                           (0, torch.zeros(0, 5))):
        batch = bev_batch()
        batch['inputs']['points'][sample] = points
        with pytest.raises(ValueError, match=rf'samples \[{sample}\] of the batch \(of \[0, 1\]\) '
                                             'have none within the range'):
            check(model, 'the student', **model.data_preprocessor(batch, True))


# ---- imports ----------------------------------------------------------------------------------
def test_segmentors_and_detectors_do_not_import_it():
    code = ('import sys; from tests.helpers import *; from tests.detectors import *; '
            'from mmkd.models.libraries import library_of; '
            'print(library_of(build(tiny_segmentor())).__name__, '
            "library_of(build(small_detector('retinanet'))).__name__, 'mmdet3d' in sys.modules)")
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                          text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == [
        'mmkd.models.libraries.mmseg', 'mmkd.models.libraries.mmdet', 'False']
