"""Teachers of detectors that normalise in another way than the student: what they see."""
import copy

import pytest
import torch
from mmengine.registry import DefaultScope

from tests.detectors import det_batch, det_distiller, small_detector
from tests.helpers import build
from tests.models.distillers.test_detectors import PKD, losses_of


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('detector inputs', scope_name='mmdet')


def test_a_student_of_another_preprocessing():
    """YOLOX takes raw pixels; its teacher here is normalised."""
    model = build(det_distiller(dict(feature=dict(
        tap='neck', levels='common', student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(type='mmkd.FitNetLoss'))), 'yolox', 'retinanet'))
    teacher = model.teachers['teacher']
    assert teacher.own_inputs
    given = {}
    read = teacher.read
    teacher.read = lambda inputs, *rest: given.update(inputs=inputs) or read(inputs, *rest)
    model.data_preprocessor.batch_augments = None
    batch = det_batch()
    losses_of(model, copy.deepcopy(batch))
    expected = teacher.model.data_preprocessor(batch, True)['inputs']
    assert torch.equal(given['inputs'], expected)


class Halve(torch.nn.Module):
    """A batch augmentation: shrinks images and boxes by a factor it draws."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, inputs, data_samples):
        size = 32 * int(torch.randint(1, 5, ()))
        self.sizes.append(size)
        for sample in data_samples:
            sample.gt_instances.bboxes *= size / inputs.shape[-1]
            sample.set_metainfo(dict(img_shape=(size, size), batch_input_shape=(size, size)))
        return torch.nn.functional.interpolate(inputs, size=(size, size)), data_samples


def test_batch_augmentations_reach_both():
    preprocessing = dict(type='mmdet.DetDataPreprocessor', mean=[0.] * 3, std=[255.] * 3)
    student = small_detector('retinanet', data_preprocessor=preprocessing)
    model = build(det_distiller(PKD, student))
    model.data_preprocessor.batch_augments = torch.nn.ModuleList([Halve()])
    teacher = model.teachers['teacher']
    given = []
    read = teacher.read
    teacher.read = lambda inputs, samples, *rest: given.append((inputs, samples)) or read(
        inputs, samples, *rest)
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    for seed in range(4):
        batch = det_batch(seed=seed)
        boxes = [s.gt_instances.bboxes.clone() for s in batch['data_samples']]
        data = model.data_preprocessor(batch, True)
        expected = torch.get_rng_state()
        model(**data, mode='loss')
        assert torch.equal(torch.get_rng_state(), expected), "the teacher's draws are no draws"
        assert given[-1][0].shape == data['inputs'].shape
        for sample, before in zip(given[-1][1], boxes, strict=True):
            torch.testing.assert_close(sample.gt_instances.bboxes,
                                       before * data['inputs'].shape[-1] / 64)
    assert len(set(model.data_preprocessor.batch_augments[0].sizes)) > 1


def test_a_teachers_own_batch_augmentations_are_not_for_its_inputs_here():
    """It was trained at random sizes; its inputs are of the student's size all the same."""
    preprocessing = dict(type='mmdet.DetDataPreprocessor', mean=[0.] * 3, std=[255.] * 3)
    model = build(det_distiller(PKD, small_detector('retinanet', data_preprocessor=preprocessing)))
    teacher = model.teachers['teacher']
    assert teacher.own_inputs
    teacher.model.data_preprocessor.batch_augments = torch.nn.ModuleList([Halve()])
    given = []
    read = teacher.read
    teacher.read = lambda inputs, *rest: given.append(inputs) or read(inputs, *rest)
    for seed in range(3):
        losses_of(model, det_batch(seed=seed))
    assert [tuple(inputs.shape[2:]) for inputs in given] == [(64, 64)] * 3
