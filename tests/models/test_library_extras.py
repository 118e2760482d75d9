"""What losses ask of a library, and models of none."""
import pytest
import torch

from mmkd.models.libraries import library_of
from mmkd.models.libraries import mmseg as library
from tests.helpers import make_batch
from tests.models.small_models import CLASSES


def test_labels_that_are_missing_or_there():
    batch = make_batch(2, 16, CLASSES)
    labels = library.EXTRAS['labels'](None, batch['data_samples'])
    assert labels.shape == (2, 16, 16) and labels.dtype == torch.int64
    assert torch.equal(labels[1], batch['data_samples'][1].gt_sem_seg.data[0])
    assert library.EXTRAS['metas'](None, batch['data_samples'])[0]['img_shape'] == (16, 16)
    del batch['data_samples'][1].gt_sem_seg
    with pytest.raises(ValueError, match=r'samples \[1\] have no gt_sem_seg.*load annotations'):
        library.EXTRAS['labels'](None, batch['data_samples'])
    with pytest.raises(ValueError, match='the batch has no gt_sem_seg'):
        library.EXTRAS['labels'](None, None)


def test_a_model_of_no_known_library():
    with pytest.raises(ValueError, match='Linear is no model of a library that mmkd knows'):
        library_of(torch.nn.Linear(1, 1))
