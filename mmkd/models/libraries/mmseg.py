"""mmsegmentation: EncoderDecoder, CascadeEncoderDecoder and alike, with any head."""
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.structures import SegDataSample
from torch import nn

from ..extras import OF_ANY_BATCH
from ._tables import pairs_of
from .mmseg_names import (  # noqa: F401 - MEANINGS and tap_names are the library's too
    MEANINGS,
    backbone_of,
    heads,
    is_depth_estimator,
    tap_names,
)

#: image sizes (H, W) to try in the dry run, besides those that the model is made for
SIZES = ((64, 64), (128, 128), (256, 256), (512, 512))
#: a name's tensor may come from another place in training than in inference
SAME_IN_TRAINING = False
#: what a teacher's taps need of the student: name of the tap -> name of the student's
SHARED = {}


def owns(model):
    return isinstance(model, BaseSegmentor)


def called(model):
    """What a user recognises the model by: its last decode head and its backbone."""
    parts = [type(head).__name__ for _, head in heads(model)[-1:]]
    _, backbone = backbone_of(model)
    parts += [type(backbone).__name__] if backbone is not None else []
    return ' on '.join(parts) or type(model).__name__


def places(model):
    """Paths of modules in which a named tensor may come by: the backbone, its parts, the
    neck and all of the decode heads."""
    first, backbone = backbone_of(model)
    paths = [] if first is None else [
        first, *(f'{first}.{name}' for name, _ in backbone.named_children())]
    if isinstance(getattr(model, 'neck', None), nn.Module):
        paths.append('neck')
    return paths + [f'{path}.{name}' if name else path for path, head in heads(model)
                    for name, _ in head.named_modules()]


def is_meant(model, name, tap, value, calls):
    """Is ``value``, which ``tap`` gave in inference, what the semantic ``name`` stands for?

    ``calls`` maps the sources of all taps of the name to what they gave.
    """
    if value.ndim != 4:
        return False
    if name in ('logits', 'aux_logits') and value.shape[1] != getattr(
            model, 'out_channels', value.shape[1]):
        return False
    if name not in ('logits', 'depth') or tap.derive is not None:
        return True
    given = [calls[source][-1] for source in calls  # what each decode head gave, the first of it
             if source.path in dict(heads(model)) and not source.is_input and calls[source]]
    return any(value is (item[0] if isinstance(item, (list, tuple)) else item) for item in given)


def facts(model):
    ignored = [getattr(head, 'ignore_index', 255) for _, head in heads(model)]
    return dict(num_classes=getattr(model, 'num_classes', None),
                ignore_index=ignored[-1] if ignored else 255)


def input_channels(model):
    """Numbers of image channels to try, the likeliest first: the stem's convolution decides
    (images may be normalised in the pipeline), then the normalisation."""
    part = backbone_of(model)[1] or model
    stem = next((m.in_channels for m in part.modules() if isinstance(m, nn.Conv2d)), None)
    mean = getattr(model.data_preprocessor, 'mean', None)
    numbers = [stem, getattr(part, 'in_channels', None), None if mean is None else len(mean), 3]
    return list(dict.fromkeys(n for n in numbers if isinstance(n, int)))


def input_sizes(model):
    """Image sizes (H, W) that the model or its config says it is made for."""
    return pairs_of([getattr(model.data_preprocessor, 'size', None),
                     (getattr(model, 'test_cfg', None) or {}).get('crop_size'),
                     *(getattr(module, 'img_size', None) for module in model.modules())])


def make_batch(model, size, channels=None):
    """Two images (2, 3, H, W) with random labels, as the data preprocessor would give them."""
    inputs = torch.randn(2, channels or input_channels(model)[0], *size)
    labels = torch.randint(0, max(getattr(model, 'num_classes', None) or 2, 1), (2, 1, *size))
    samples = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size,
                                             padding_size=[0, 0, 0, 0]))
        sample.gt_sem_seg = PixelData(data=label)
        sample.gt_edge_map = PixelData(data=torch.zeros_like(label))  # boundary heads want it
        if is_depth_estimator(model):
            sample.gt_depth_map = PixelData(data=torch.rand(label.shape) + 0.1)
        samples.append(sample)
    return inputs, samples


def settle(model):
    """Any weights will do."""


def forward(model, inputs, data_samples, paths=(), shared=None):
    """Run the segmentor as in inference, to the last head's output (and the auxiliary
    heads if one of ``paths`` is in them)."""
    metas = [sample.metainfo for sample in data_samples]
    plain = type(model).encode_decode in (EncoderDecoder.encode_decode,
                                          CascadeEncoderDecoder.encode_decode)
    if not plain:
        if hasattr(model, 'encode_decode'):
            return model.encode_decode(inputs, metas)
        return model(inputs, data_samples, mode='tensor')
    features = model.extract_feat(inputs)
    for path, head in heads(model, 'auxiliary_head'):
        if any(f'{wanted}.'.startswith(f'{path}.') for wanted in paths):
            head.forward(features)
    *first, last = [head for _, head in heads(model)]
    previous = ()
    for head in first:
        previous = (head.forward(features, *previous),)
    return last.predict(features, *previous, metas, model.test_cfg)


def bare_samples(images):
    """Samples of a batch (N, C, H, W), or of a list of images, that know nothing but the size."""
    sizes = [tuple(image.shape[-2:]) for image in images]
    return [SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
            for size in sizes]


def lacks_labels(data_samples):
    """Whether a sample of the batch has no annotation."""
    return not data_samples or any('gt_sem_seg' not in sample and 'gt_depth_map' not in sample
                                   for sample in data_samples)


def _labels(batch):
    """Ground truth (N, H, W), int64."""
    samples = batch.data_samples
    missing = [i for i, sample in enumerate(samples or ()) if 'gt_sem_seg' not in sample]
    if not samples or missing:
        raise ValueError('a loss asks for labels, but '
                         + (f'samples {missing} have' if missing else 'the batch has')
                         + ' no gt_sem_seg: does the train pipeline load annotations?')
    return torch.stack([sample.gt_sem_seg.data[0] for sample in samples]).long()


EXTRAS = dict(labels=_labels, **OF_ANY_BATCH)


def nothing_to_teach(asked, extras, maps):
    """Does the loss ask for labels, and none counts at the size of one of the maps?"""
    if not {'labels', 'data_samples'} & set(asked):
        return False
    try:
        labels = extras('labels')
    except (KeyError, ValueError):
        return False
    known = facts(extras.student)
    ignore, classes = known['ignore_index'], known['num_classes']
    counts = labels != ignore if ignore is not None else labels >= 0
    if classes is not None:
        counts = counts & (labels >= 0) & (labels < classes)
    sizes = [labels.shape[1:]] + [x.shape[2:] for x in maps if x.ndim == 4]
    return any(not F.interpolate(counts[:, None].float(), size=size).any() for size in sizes)
