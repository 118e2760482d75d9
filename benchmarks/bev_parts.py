"""How much of a training step goes into masks, heatmaps and samplings of maps seen from above.

Part of ``benchmarks/bev_step.py``. The functions that do this work are timed inside the step that
is timed, forward and backward, on the device.
"""
import contextlib
import functools
import importlib
import time

import torch

_LOSSES = 'mmkd.models.losses.bev.'
#: kind of work -> the functions that do it, module:name
PARTS = dict(
    masks=[_LOSSES + 'distillbev:DistillBEVLoss.masks',
           _LOSSES + 'distillbev:DistillBEVLoss.attention'],
    heatmaps=[_LOSSES + 'unidistill:foreground_gaussians',
              _LOSSES + 'bevdistill:foreground_gaussians',
              'mmkd.models.libraries.mmdet3d_heads:CenterHeadView.heatmaps'],
    sampling=[_LOSSES + 'unidistill:features_at',
              _LOSSES + 'bevdistill:predicted_places', _LOSSES + 'bevdistill:_read',
              _LOSSES + 'tig_bev:TiGBEVLoss.keypoints', _LOSSES + 'tig_bev:TiGBEVLoss.read',
              _LOSSES + 'tig_bev_depth:TiGBEVDepthLoss.foreground'],
    alignment=['mmkd.models.alignment:Alignment.__call__'])


class Watch:
    """Adds up the seconds of each kind of work while it is used as a context.

    Between two moments of the backward pass nothing runs but what the forward pass between two
    marks made: autograd takes the latest of what is ready, and every operation after the second
    mark is done before it.

    Attributes:
        seconds (dict): kind of work -> seconds.
    """

    def __init__(self, device):
        self.device, self.seconds = device, dict.fromkeys(PARTS, 0.)
        self._spans, self._inside = [], False

    def now(self):
        if self.device != 'cuda':
            return time.process_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        for kind, names in PARTS.items():
            for name in names:
                self._replace(kind, *name.split(':'))
        return self

    def _replace(self, kind, module, path):
        owner = importlib.import_module(module)
        *parents, name = path.split('.')
        for parent in parents:
            owner = getattr(owner, parent)
        given = owner.__dict__[name]
        function = getattr(given, '__func__', given)  # of a staticmethod
        timed = self._timed(kind, function)
        setattr(owner, name, type(given)(timed) if isinstance(given, staticmethod) else timed)
        self._stack.callback(setattr, owner, name, given)

    def __exit__(self, *error):
        self._stack.close()
        if self.device == 'cuda':
            torch.cuda.synchronize()
        for span in self._spans:
            self.seconds[span.kind] += span.seconds()
        self._spans.clear()

    def _timed(self, kind, function):
        @functools.wraps(function)
        def timed(*args, **kwargs):
            if self._inside:  # within a part that is timed already
                return function(*args, **kwargs)
            backward = _Span(kind)
            self._inside = True
            forward = _Span(kind, self.now())
            try:
                args, kwargs = _marked((args, kwargs), lambda: backward.ends(self.now()))
                out = function(*args, **kwargs)
            finally:  # recomputing stops with an exception once it has what it needs
                self._inside = False
                forward.ends(self.now())
                self._spans += [forward, backward]
            return _marked(out, lambda: backward.begins(self.now()))
        return timed


class _Span:
    """From the first beginning to the last end of one call, or of its backward."""

    def __init__(self, kind, begin=None):
        self.kind, self.begin, self.end = kind, begin, None

    def begins(self, moment):
        self.begin = self.begin or moment

    def ends(self, moment):
        self.end = moment

    def seconds(self):
        if self.begin is None or self.end is None:  # it had no backward
            return 0.
        if isinstance(self.begin, float):
            return self.end - self.begin
        return self.begin.elapsed_time(self.end) / 1000


class _Mark(torch.autograd.Function):
    """The tensor itself; ``passed`` is called when its gradient comes by."""

    @staticmethod
    def forward(ctx, x, passed):
        ctx.passed = passed
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        ctx.passed()
        return grad, None


def _marked(value, passed):
    """``value`` with marks on those of its tensors that have a gradient."""
    return _mapped(value, lambda x: _Mark.apply(x, passed)
                   if x.requires_grad and torch.is_grad_enabled() else x)


def _mapped(value, function):
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _mapped(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(item, function) for item in value)
    return value
