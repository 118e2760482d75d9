"""When a teacher needs other inputs than the student's."""
import copy
import functools
import random

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor

_PADDING = ('size', 'size_divisor', 'pad_size_divisor')


def same_preprocessing(student, teacher, reads=('imgs',)):
    """Do both data preprocessors turn a training batch into the same tensors, of the modalities
    that the teacher ``reads`` ('imgs', 'points')?"""
    # A teacher whose config has none (it only moves data) takes what it is given.
    return type(teacher) is BaseDataPreprocessor or all(
        _DECIDES[kind](student) == _DECIDES[kind](teacher) for kind in reads)


def _pixels(preprocessor):
    """What decides the values of the normalised batch."""
    mean, std = (getattr(preprocessor, key, None) for key in ('mean', 'std'))
    as_list = [v.flatten().tolist() if isinstance(v, torch.Tensor) else v for v in (mean, std)]
    return (as_list, getattr(preprocessor, 'channel_conversion',
                             getattr(preprocessor, '_channel_conversion', None)),
            getattr(preprocessor, '_enable_normalize', mean is not None),
            getattr(preprocessor, 'pad_val', getattr(preprocessor, 'pad_value', None)))


def _voxels(preprocessor):
    """What decides which points are in which voxel; the limits on the number of voxels in
    training and in inference are two, and a teacher takes part in training."""
    layer = getattr(preprocessor, 'voxel_layer', None)
    if not getattr(preprocessor, 'voxel', False) or layer is None:
        return None
    return (preprocessor.voxel_type, getattr(preprocessor, 'batch_first', True),
            [list(map(float, getattr(layer, key))) for key in (
                'point_cloud_range', 'voxel_size', 'max_voxels')],
            layer.max_num_points, layer.deterministic)


_DECIDES = dict(imgs=_pixels, points=_voxels)
#: a modality in the inputs of a network -> in what a data set gives
_RAW = dict(imgs='img', points='points')


def allow_bare_images(preprocessor, bare_samples):
    """Let training batches of images alone, without ``data_samples``, through ``preprocessor``.

    Args:
        preprocessor (nn.Module): A library's, which would refuse them.
        bare_samples (callable): Images -> samples that know nothing but the size; it must be a
            module's function, so that copies and pickles of the model have it.
    """
    preprocessor.register_forward_pre_hook(functools.partial(_add_samples, bare_samples),
                                           with_kwargs=True)


def _add_samples(bare_samples, module, args, kwargs):
    data = args[0] if args else kwargs['data']
    if isinstance(data, dict) and 'inputs' in data and not data.get('data_samples'):
        data = dict(data, data_samples=bare_samples(data['inputs']))
    return (data, *args[1:]), {key: value for key, value in kwargs.items() if key != 'data'}


class RawBatch:
    """Keeps the batch that the student's data preprocessor was given, for one step.

    Augmentations of whole batches (``batch_augments``: a random size for all images, ...) are
    repeated on the teacher's inputs with the same draws; the teacher's own are not for it here.
    """

    def __init__(self, padding):
        self.data, self.padding = None, padding
        self.augments, self.draws = None, None

    @classmethod
    def attach(cls, preprocessor):
        """Remember every training batch that goes into ``preprocessor``."""
        self = cls({key: getattr(preprocessor, key) for key in _PADDING
                    if hasattr(preprocessor, key)})
        preprocessor.register_forward_pre_hook(functools.partial(_remember, self),
                                               with_kwargs=True)
        return self

    def preprocess(self, preprocessor, reads=('imgs',)):
        """(inputs, data_samples) of the remembered batch as ``preprocessor`` makes them; of
        several modalities those that ``reads`` names."""
        if self.data is None:
            raise RuntimeError('the teacher needs its own inputs (its data_preprocessor differs '
                               "from the student's), but the batch did not go through "
                               'model.data_preprocessor; call model.train_step(data, ...) or '
                               'model.data_preprocessor(data, True) first')
        # The same canvas as the student's, whatever crop the teacher was trained with:
        # otherwise their maps would not lie on each other.
        for key, value in self.padding.items():
            setattr(preprocessor, key, value)
        # For the same reason no resizing or padding that it was trained with and the student is
        # not: teacher and student would see images of other sizes.
        preprocessor.batch_augments = self.augments
        now = _random_states()
        _set_random_states(self.draws)
        try:
            data = preprocessor(self._of(reads), True)
        finally:
            _set_random_states(now)
        return data['inputs'], data['data_samples']


    def _of(self, reads):
        inputs = self.data.get('inputs')
        if not isinstance(inputs, dict):
            return self.data
        wanted = [_RAW[kind] for kind in reads]
        return dict(self.data, inputs={key: inputs[key] for key in inputs if key in wanted})


def _remember(raw, module, args, kwargs):
    training = kwargs.get('training', args[1] if len(args) > 1 else False)
    if training:
        data = args[0] if args else kwargs['data']
        augments = getattr(module, 'batch_augments', None)
        raw.augments, raw.draws = copy.deepcopy(augments), _random_states()
        # The student's preprocessor pads the samples in place, and its augmentations scale boxes.
        copied = copy.deepcopy if augments else copy.copy
        raw.data = {key: [item if isinstance(item, torch.Tensor) else copied(item)
                          for item in value] if isinstance(value, list) else value
                    for key, value in data.items()}


def _random_states():
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set_random_states(states):
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
