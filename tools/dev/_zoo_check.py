"""One model of the zoo as student and teacher: does everything hold that mmkd promises?"""
import copy
import os
import tempfile

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

import mmkd.models  # noqa: F401 - registers everything
from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.taps import Recorder

TERMS = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.CWDLoss'), weight=1.),
    backbone=dict(tap='backbone', loss=dict(type='mmkd.FitNetLoss'), weight=1.,
                  student_connector=dict(type='mmkd.ConvConnector')))
_SIZES = ((64, 96), (128, 192), (256, 256), (512, 512))


def check(model_cfg):
    """Check one model dict.

    Returns:
        dict: ``stock`` (why it does not train without mmkd here, or ''), and for each of
        TERMS and for ``student`` what is wrong ('' if nothing is).
    """
    with DefaultScope.overwrite_default_scope('mmseg'):
        try:
            stock, teacher = _built(model_cfg, 1), _built(model_cfg, 2)
            batch, losses = _first_size_that_trains(stock)
        except Exception as error:
            return dict(stock=_said(error))
        found = dict(stock='', size=list(batch[0].shape[-2:]), student='')
        depth = 'depth' in library_of(stock).tap_names(stock)
        terms = {name: dict(term, tap='depth') if depth and name == 'logits' else term
                 for name, term in TERMS.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'teacher.pth')
            torch.save(dict(state_dict=teacher.state_dict()), path)
            del teacher
            for name, term in terms.items():
                try:
                    found[name] = _check_term(stock, model_cfg, path, name, term, batch, losses)
                except Exception as error:
                    found[name] = _said(error)
    return found


def _said(error):
    return f'{type(error).__name__}: {error}'.strip()


def _built(model_cfg, seed):
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(copy.deepcopy(model_cfg)))
    try:
        model.init_weights()
    except AttributeError:  # SAN's only starts from a checkpoint
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def _first_size_that_trains(model):
    """(batch, the model's own losses) at the smallest size that it trains on."""
    library, last = library_of(model), None
    for size in sorted({*_SIZES, *library.input_sizes(model)}, key=lambda s: s[0] * s[1]):
        torch.manual_seed(3)
        batch = library.make_batch(model, size)
        try:
            losses = _step(copy.deepcopy(model), batch)
            if all(torch.isfinite(value).all() for value in losses.values()):
                return batch, losses
        except Exception as error:
            last = error
    raise last or RuntimeError('its own losses are not finite')


def _step(model, batch):
    """The losses of a training step, with the same draws whatever the model."""
    torch.manual_seed(4)
    losses = model.train()(batch[0].clone(), copy.deepcopy(batch[1]), mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()
    return log


def _check_term(stock, model_cfg, path, name, term, batch, losses):
    """What is wrong with a distiller of this one term; '' if nothing is."""
    distiller = MODELS.build(ConfigDict(
        type='mmkd.OfflineDistiller', student=copy.deepcopy(model_cfg),
        teacher=dict(config=copy.deepcopy(model_cfg), checkpoint=path),
        distillations={name: copy.deepcopy(term)}))
    distiller.student.load_state_dict(stock.state_dict())
    own = [key for key in distiller.state_dict() if not key.startswith('distiller.')]
    if own != list(stock.state_dict()):
        return "state_dict is not the student's"
    if not _same_predictions(stock, distiller, batch):
        return "predict is not the student's"
    teacher = distiller.teachers['teacher'].model
    before = copy.deepcopy(teacher.state_dict())
    tapped = []
    with _watched(distiller.distiller[name], tapped):
        log = _step(distiller, batch)
    values = {key: value for key, value in log.items() if key.startswith(f'loss_{name}')}
    if not values or not all(torch.isfinite(value) and value > 0 for value in values.values()):
        return f'its losses are {values}'
    if tapped[0].grad is None or not tapped[0].grad.abs().sum() > 0:
        return "no gradient at the student's tensor"
    different = [key for key, value in losses.items()
                 if key != 'loss' and not torch.equal(value, log[key])]
    if different:
        return f"the student's own {', '.join(different)} differ"
    if any(not torch.equal(value, before[key]) for key, value in teacher.state_dict().items()):
        return 'the teacher changed'
    return _same_tensor(stock, term['tap'], batch)


def _same_predictions(stock, distiller, batch):
    given = []
    for model in (stock, distiller):
        model.eval()
        with torch.no_grad():
            torch.manual_seed(5)
            given.append(model(batch[0][:1].clone(), copy.deepcopy(batch[1][:1]), mode='predict'))
    ours, theirs = ({key: getattr(result[0], key).data for key in result[0].keys()
                     if key.startswith(('seg_logits', 'pred_'))} for result in given)
    return bool(ours) and all(torch.equal(ours[key], theirs[key]) for key in ours)


class _watched:
    """Keeps the student's tensor that a term is given, with its gradient."""

    def __init__(self, term, tapped):
        self.term, self.tapped, self.forward = term, tapped, term.forward

    def __enter__(self):
        def forward(student, *args, **kwargs):
            student.retain_grad()
            self.tapped.append(student)
            return self.forward(student, *args, **kwargs)
        self.term.forward = forward

    def __exit__(self, *exc_info):
        del self.term.forward


def _same_tensor(model, name, batch):
    """With equal weights and without chance, do both sides read the same, and does what the
    model gives depend on it?"""
    library, values = library_of(model), []
    paths = ['backbone', 'neck', 'image_encoder', 'decode_head', 'decode_head.0', 'decode_head.1']
    for training in (True, False):
        run = DryRun(model, library, 'model', [name], training)
        tap, model_ = run.taps[name], copy.deepcopy(model).eval()
        for path, module in model_.named_modules() if training else ():
            module.training = path in paths  # those give something else in training
        model_.training = training
        torch.manual_seed(6)
        with Recorder(model_, [tap.source]) as recorder:
            given = model_.loss(*copy.deepcopy(batch)) if training else library.forward(
                model_, *copy.deepcopy(batch), [tap.source.path])
        values.append(tap.select(recorder.calls[tap.source]))
    if values[0].shape != values[1].shape or not torch.allclose(*values, rtol=1e-4, atol=1e-5):
        return 'student and teacher read different tensors'
    if name == 'logits':
        return ''
    grad, = torch.autograd.grad(given.square().sum(), values[1], allow_unused=True)
    return '' if grad is not None and grad.abs().sum() > 0 else 'inference does not read it'


__all__ = ['TERMS', 'check']
