"""Do student and teacher of one model read the same tensors, in training and inference?"""
import copy

import torch

from mmkd.models.libraries import library_of
from mmkd.models.no_trace import twin_of
from mmkd.models.recorder import Recorder
from mmkd.models.values import leaves

#: parts that may give something else in training
_PARTS = ('backbone', 'neck', 'image_encoder', 'decode_head', 'decode_head.0', 'decode_head.1',
          'rpn_head', 'bbox_head', 'pts_bbox_head', 'roi_head', 'mask_head', 'panoptic_head')


def what_is_read(model, taps, shared, batch):
    """Term -> what student and teacher read with equal weights and without chance, and the
    gradient of what inference gives at the latter (None: it does not depend on it)."""
    library, given, read = library_of(model), {}, {name: [] for name in taps}
    for side in ('student', 'teacher'):
        run = twin_of(model).eval()
        sources = {source for both in taps.values() for source in both[side].sources}
        run.training = side == 'student'
        if run.training:
            sources |= {source for tap in shared.values() for source in tap.sources}
        for path, module in run.named_modules():
            if path in _PARTS:
                module.training = run.training
        torch.manual_seed(6)
        # Some losses overwrite what they are given; a gradient is asked for in inference alone.
        with Recorder(run, sources, clone=sources if run.training else ()) as recorder:
            out = run.loss(*copy.deepcopy(batch)) if run.training else library.forward(
                run, *copy.deepcopy(batch), [source.path for source in sources], given)
        if run.training:
            given = {name: tap.read(recorder.calls) for name, tap in shared.items()}
        for name, both in taps.items():
            read[name].append(leaves(both[side].read(recorder.calls)))
    if not isinstance(out, torch.Tensor):  # a detector's boxes have no gradient
        return {name: (*both, None) for name, both in read.items()}
    return {name: (*both, torch.autograd.grad(
        out.square().sum(), both[1], allow_unused=True, retain_graph=True)[0])
        for name, both in read.items()}


def wrong_tensor(name, student, teacher, gradient):
    if len(student) != len(teacher) or not all(map(_close, student, teacher)):
        return 'student and teacher read different tensors'
    if name == 'backbone' and (gradient is None or not gradient.abs().sum() > 0):
        return 'inference does not read it'
    return ''


def _close(one, other):
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


__all__ = ['what_is_read', 'wrong_tensor']
