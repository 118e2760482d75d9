"""What losses ask of a library, and models of none."""
import pytest
import torch

from mmkd.models.extras import Extras
from mmkd.models.libraries import library_of, mmdet
from mmkd.models.libraries import mmseg as library
from tests.detectors import det_batch
from tests.helpers import make_batch
from tests.models.small_models import CLASSES


def test_labels_that_are_missing_or_there():
    batch = make_batch(2, 16, CLASSES)
    labels = Extras(library.EXTRAS, None, batch['data_samples'])('labels')
    assert labels.shape == (2, 16, 16) and labels.dtype == torch.int64
    assert torch.equal(labels[1], batch['data_samples'][1].gt_sem_seg.data[0])
    assert Extras(library.EXTRAS, None, batch['data_samples'])('metas')[0]['img_shape'] == (16, 16)
    del batch['data_samples'][1].gt_sem_seg
    with pytest.raises(ValueError, match=r'samples \[1\] have no gt_sem_seg.*load annotations'):
        Extras(library.EXTRAS, None, batch['data_samples'])('labels')
    with pytest.raises(ValueError, match='the batch has no gt_sem_seg'):
        Extras(library.EXTRAS, None, None)('labels')


@pytest.mark.parametrize('asked, boxes, expected', [
    (['boxes'], 2, False), (['boxes'], 0, True), (['progress'], 0, False),
    (['data_samples'], None, False), (['teacher_predictions'], None, False)])
def test_whether_a_batch_of_detection_has_nothing_to_teach(asked, boxes, expected):
    batch = det_batch(boxes=boxes or 0)
    if boxes is None:  # without annotations, for a loss that can do without
        for sample in batch['data_samples']:
            del sample.gt_instances
    extras = Extras(mmdet.EXTRAS, torch.stack(batch['inputs']), batch['data_samples'])
    assert mmdet.nothing_to_teach(asked, extras, []) is expected


def test_a_model_of_no_known_library():
    with pytest.raises(ValueError, match='Linear is no model of a library that mmkd knows'):
        library_of(torch.nn.Linear(1, 1))
