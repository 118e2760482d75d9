"""One model of the zoo as student and teacher: does everything hold that mmkd promises?"""
import contextlib
import copy
import os
import tempfile
import traceback

import numpy as np
import torch
from _zoo_libraries import ZOOS
from _zoo_reads import what_is_read, wrong_tensor
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, DefaultScope
from torch.nn import Conv2d, Linear

import mmkd.models  # noqa: F401 - registers everything
from mmkd.models.libraries import before_building, library_of
from mmkd.models.no_trace import twin_of
from mmkd.models.values import leaves


def check(model_cfg, library='mmseg'):
    """Check one model dict.

    Returns:
        dict: ``stock`` (why it does not train without mmkd here, or ''), ``size`` (H, W; none
        without images), ``needs`` (the optional packages that it is built of, if any) and, for
        each of the library's terms that the model has a tensor for, what is wrong ('' if nothing
        is); ``none`` says that there is no such term.
    """
    MessageHub.get_current_instance().update_info_dict(dict(iter=0, epoch=0))  # as in a run
    zoo = ZOOS[library]
    scope = model_cfg.get('_scope_', library)  # mmdet3d's zoo has models of mmdet, too
    with DefaultScope.overwrite_default_scope(scope):
        try:
            before_building(model_cfg, scope)  # no change to models, but operators for the CPU
            stock, teacher = (_built(model_cfg, seed, zoo.awake) for seed in (1, 2))
            batch, losses = _first_size_that_trains(stock, zoo.sizes)
        except Exception as error:
            return dict(stock=_said(error))
        found = dict(stock='', size=_image_size(batch))
        if needs := _built_of(stock, zoo.optional):
            found['needs'] = needs
        names = library_of(stock).tap_names(stock)
        terms = {name: _with_tap(term, next((tap for tap in taps if tap in names), taps[0]))
                 for name, (taps, term) in zoo.terms.items()
                 if zoo.all_terms or set(taps) & set(names)}
        if not terms:
            return dict(found, none=f'has nothing that these terms compare (only {list(names)})')
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'teacher.pth')
            torch.save(dict(state_dict=teacher.state_dict()), path)
            del teacher
            return {**found, **_wrong_each(stock, model_cfg, path, terms, batch, losses)}


def _image_size(batch):
    images = batch[0].get('imgs') if isinstance(batch[0], dict) else batch[0]
    return [] if images is None else list(images.shape[-2:])


def _built_of(model, packages):
    used = {type(module).__module__.partition('.')[0] for module in model.modules()}
    return sorted(used & set(packages))


def _with_tap(term, tap):
    return dict(term, weight=1., **({} if 'student_tap' in term else dict(tap=tap)))


def _wrong_each(stock, model_cfg, path, terms, batch, losses):
    """Term -> what is wrong with it; all in one distiller, or, where one fails, each alone."""
    try:
        return _wrong(stock, model_cfg, path, terms, batch, losses)
    except Exception as error:
        if len(terms) == 1:
            return dict.fromkeys(terms, _said(error))
    return {name: _wrong_each(stock, model_cfg, path, {name: term}, batch, losses)[name]
            for name, term in terms.items()}


def _said(error):
    return f'{type(error).__name__}: {error}' if str(error) else (
        f'{type(error).__name__} at {traceback.extract_tb(error.__traceback__)[-1].line!r}')


def _built(model_cfg, seed, awake=False):
    """The model; ``awake``: layers that start near zero have weights as others have, or a
    detector's scores would hardly depend on the image."""
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(copy.deepcopy(model_cfg)))
    try:
        model.init_weights()
    except AttributeError:  # SAN's only starts from a checkpoint
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    layers = [module for module in model.modules() if isinstance(module, (Conv2d, Linear))]
    for weight in [layer.weight for layer in layers] if awake else ():
        usual = (2 / max(weight[0].numel(), 1)) ** 0.5
        if 0 < float(weight.detach().std()) < usual / 2:
            torch.nn.init.normal_(weight, std=usual)
    return model


def _first_size_that_trains(model, sizes):
    """(batch, the model's own losses) at the smallest size that it trains on."""
    library, last = library_of(model), None
    for size in sorted({*(sizes or library.SIZES), *library.input_sizes(model)},
                       key=lambda s: s[0] * s[1]) or [None]:
        torch.manual_seed(3)
        batch = library.make_batch(model, size)
        try:
            losses = _step(twin_of(model), batch)
            if all(torch.isfinite(value).all() for value in losses.values()):
                return batch, losses
        except Exception as error:
            last = error
    raise last or RuntimeError('its own losses are not finite')


def _step(model, batch):
    """The losses of a training step, with the same draws for any model."""
    torch.manual_seed(4)
    model.train()  # which returns None for one that is taught by mmdet itself (LD)
    losses = model(*copy.deepcopy(batch), mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()
    return log


def _wrong(stock, model_cfg, path, terms, batch, losses):
    """Term -> what is wrong in a distiller of these terms ('' if nothing is)."""
    torch.manual_seed(1)  # a network within that is no part of the model (LD's) is equal, too
    distiller = MODELS.build(ConfigDict(
        type='mmkd.OfflineDistiller', student=copy.deepcopy(model_cfg),
        teacher=dict(config=copy.deepcopy(model_cfg), checkpoint=path),
        distillations=copy.deepcopy(terms)))
    distiller.student.load_state_dict(stock.state_dict())
    own = [key for key in distiller.state_dict() if not key.startswith('distiller.')]
    if own != list(stock.state_dict()):
        return dict.fromkeys(terms, "state_dict is not the student's")
    if not _same_predictions(stock, distiller, batch):
        return dict.fromkeys(terms, "predict is not the student's")
    teacher = distiller.teachers['teacher'].model
    before = copy.deepcopy(teacher.state_dict())
    with contextlib.ExitStack() as stack:
        gradients = {name: stack.enter_context(_gradient(distiller.distiller[name]))
                     for name in terms}
        log = _step(distiller, batch)
    different = [key for key, value in losses.items()
                 if key != 'loss' and not torch.equal(value, log[key])]
    if different:
        return dict.fromkeys(terms, f"the student's own {', '.join(different)} differ")
    if any(not torch.equal(value, before[key]) for key, value in teacher.state_dict().items()):
        return dict.fromkeys(terms, 'the teacher changed')
    taps = {name: distiller.distiller[name].taps for name in terms}
    read = what_is_read(stock, taps, distiller._shared, batch)
    return {name: _wrong_losses(name, log, gradients[name]) or wrong_tensor(name, *read[name])
            for name in terms}


def _wrong_losses(name, log, gradients):
    values = {key: value for key, value in log.items() if key.startswith(f'loss_{name}')}
    if not all(torch.isfinite(value) and value >= 0 for value in values.values()) or not sum(
            values.values()) > 0:
        return f'its losses are {values}'
    if not all(torch.isfinite(grad).all() and grad.abs().sum() > 0 for grad in gradients):
        return "no gradient at the student's tensor"
    return ''


def _same_predictions(stock, distiller, batch):
    given = []
    if not isinstance(batch[0], dict):  # voxels are not cut by sample
        batch = batch[0][:1], batch[1][:1]
    for model in (stock, distiller):
        model.eval()
        with torch.no_grad():
            torch.manual_seed(5)
            try:
                given.append(model(*copy.deepcopy(batch), mode='predict'))
            except Exception as error:  # SSD's in mmdet 3.3
                given.append(_said(error))
    if isinstance(given[0], str):
        return given[0] == given[1]
    ours, theirs = ({(i, key, name): value for i, sample in enumerate(samples)
                     for key in sample.keys() if key.startswith(('seg_logits', 'pred_'))
                     for name, value in getattr(sample, key).items()} for samples in given)
    return bool(ours) and all(_equal(value, theirs[key]) for key, value in ours.items())


def _equal(one, other):
    one, other = (getattr(value, 'tensor', value) for value in (one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other if isinstance(one, (str, list)) else np.array_equal(one, other)


@contextlib.contextmanager
def _gradient(term):
    """Meanwhile, a list of what the term alone gives as gradient at the student's tensor."""
    forward, gradients = term.forward, []

    def watched(student, *args, **kwargs):
        values = forward(student, *args, **kwargs)
        total = sum(value for key, value in values.items() if key.startswith('loss'))
        gradients.extend(torch.autograd.grad(total, leaves(student), retain_graph=True))
        return values

    term.forward = watched
    try:
        yield gradients
    finally:
        del term.forward


__all__ = ['check']
