"""Each side makes its own inputs of one batch: what it reads, with its own voxels."""
from unittest import mock

import pytest
import torch

from tests.detectors3d import bev_batch, bev_distiller, centerpoint
from tests.helpers import build

from .test_bev_detectors import FEATURE, FITNET, _scope, camera, lidar, losses_of, step, wide_batch  # noqa: F401


def inputs_of_teacher(model, batch):
    """What the teacher's forward was given."""
    network, seen = model.teachers['teacher'].model, {}
    given = type(network).extract_feat

    def remember(self, inputs, metas):
        if self is network:
            seen.update(inputs)
        return given(self, inputs, metas)

    # Takes an inherited method away again; put back, it would be the class's own from then on, and
    # what replaces the parent's (mmdeploy's rewriters do) would be without effect.
    with mock.patch.object(type(network), 'extract_feat', remember):
        losses_of(model, batch)
    return seen


def test_a_lidar_teacher_gets_points_and_a_camera_teacher_images():
    model = build(bev_distiller(FEATURE, camera(), lidar()))
    teacher = model.teachers['teacher']
    assert teacher.own_inputs and teacher.reads == ('points',)
    assert 'its own inputs' in str(teacher)
    seen = inputs_of_teacher(model, wide_batch())
    assert set(seen) == {'points', 'voxels'}
    expected = teacher.model.data_preprocessor(wide_batch(), True)['inputs']
    for key in ('voxels', 'coors', 'num_points'):
        assert torch.equal(seen['voxels'][key], expected['voxels'][key])
    model = build(bev_distiller(FEATURE, lidar(), camera()))
    seen = inputs_of_teacher(model, wide_batch())
    expected = build(camera()).data_preprocessor(wide_batch(), True)['inputs']
    assert set(seen) == {'imgs'} and torch.equal(seen['imgs'], expected['imgs'])
    assert expected['imgs'].mean().abs() < 1  # normalised


@pytest.mark.parametrize('change, own', [
    ({}, False), (dict(max_num_points=4), True), (dict(max_voxels=(100, 200)), True),
    (dict(voxel_size=[2., 2., 4.], area=None), True), (dict(mean=[1., 2., 3.]), False)])
def test_voxels_are_shared_only_if_they_are_the_same(change, own):
    teacher = centerpoint(16) if 'area' not in change else centerpoint(16, size=2.)
    changes = {key: value for key, value in change.items() if key not in ('area', 'mean')}
    teacher.data_preprocessor.voxel_layer.update(changes)
    if 'mean' in change:  # of images, which neither looks at
        teacher.data_preprocessor.update(mean=change['mean'], std=[1., 1., 1.])
    model = build(bev_distiller(dict(feature=dict(FEATURE['feature'])), centerpoint(), teacher))
    assert model.teachers['teacher'].own_inputs is own
    step(model, bev_batch())


def test_a_student_of_cameras_needs_no_points():
    model = build(bev_distiller(FEATURE, camera(), lidar())).eval()
    with torch.no_grad():
        found = model.test_step(wide_batch(points=None))
    assert len(found) == 2


@pytest.mark.parametrize('student, teacher, without, message', [
    (camera, lidar, dict(points=None), r'teacher \(CenterPoint\) reads points, and the batch has '
                                       r'none .*LoadPointsFromFile'),
    (lidar, camera, dict(images=None), r'teacher \(BEVDet\) reads imgs, and the batch has none .*'
                                       'LoadCameraImages'),
    (lidar, camera, dict(points=None), r'the student \(CenterPoint\) reads points')])
def test_a_modality_that_is_not_loaded_is_told(student, teacher, without, message):
    model = build(bev_distiller(FEATURE, student(), teacher()))
    with pytest.raises(ValueError, match=message):
        losses_of(model, wide_batch(**without))


def test_an_empty_sweep_of_the_teachers_is_told():
    """The teacher would give one sample less, which could be compared with both."""
    model = build(bev_distiller(FEATURE, camera(), lidar()))
    batch = wide_batch()
    batch['inputs']['points'][1] += 1e4
    with pytest.raises(ValueError, match=r'teacher \(CenterPoint\) reads points, and samples '
                                         r'\[1\]'):
        losses_of(model, batch)


def test_a_lidar_recipe_on_a_camera_teacher():
    terms = dict(t=dict(tap='voxels', loss=FITNET))
    with pytest.raises(ValueError) as error:
        build(bev_distiller(terms, lidar(), camera()))
    assert "this BEVDet on ResNet has no 'voxels'" in str(error.value)
    assert 'those that read points' in str(error.value)
