"""``train.py --check``: all that can go wrong before the second iteration, and what will happen."""
import math
import os
import tempfile
from logging import FileHandler

import torch
from torch import nn

from ..utils.configs import copy_config, teachers_of
from .data_check import check_datasets
from .resuming import check_found
from .runners import need_data, runner_class


def check_training(cfg, start=(None, None)):
    """Make a training of ``cfg`` in memory, up to its first step, and describe it.

    Data sets, networks, weights, terms, evaluation and optimizer are built as ``train.py`` builds
    them, and the first batch takes a training step. Nothing is written.

    Args:
        cfg (Config): As for the Runner. It is not changed.
        start (tuple): What training goes on or starts from; see
            :func:`~mmkd.apis.resuming.find_start`.

    Returns:
        str: What will be trained, with what, on what and for how long, line by line.

    Raises:
        FileNotFoundError: Data or a file of a network is missing.
        ValueError: Anything else that training would stumble over in its first step.
    """
    contents = check_datasets(cfg)
    with tempfile.TemporaryDirectory() as folder:
        runner = _runner(cfg, folder)
        try:
            model = runner.model
            check_found(model, cfg, start)
            optim_wrapper = _optim_wrapper(runner)
            model.init_weights()
            train_loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
            _schedule_lr(runner, optim_wrapper)
            if runner._val_loop is not None:
                runner.build_val_loop(runner._val_loop)
            batch = _first_batch(train_loop.dataloader)
            # As the Runner notes them when training begins: schedules ask for it.
            runner.message_hub.update_info('iter', 0)
            runner.message_hub.update_info('max_iters', train_loop.max_iters)
            seen, losses = _first_step(model, batch, optim_wrapper)
        finally:
            for handler in [h for h in runner.logger.handlers if isinstance(h, FileHandler)]:
                runner.logger.removeHandler(handler)
                handler.close()
    lines = [*_networks(cfg, model), *_terms(model, seen, losses), *_data(contents, batch),
             *_schedule(cfg, losses)]
    width = max(len(label) for label, _ in lines)
    return '\n'.join(f'{label:<{width}}  {text}' for label, text in lines)


def _runner(cfg, folder):
    """A Runner that writes into ``folder`` only, and logs nothing."""
    cfg = copy_config(cfg)
    cfg.work_dir, cfg.log_level, cfg.launcher = folder, 'ERROR', 'none'
    cfg.visualizer, cfg.resume, cfg.load_from = None, False, None
    cfg.experiment_name = f'check_{os.path.basename(folder)}'
    if cfg.get('train_dataloader') is None:
        raise ValueError(f'config {cfg.filename!r} has no train_dataloader: it trains nothing')
    for loader in ('train_dataloader', 'val_dataloader'):
        if cfg.get(loader) is not None:  # in this process, where an error is the error itself
            cfg[loader].update(num_workers=0, persistent_workers=False)
            cfg[loader].pop('prefetch_factor', None)
    return runner_class(cfg).from_cfg(cfg)


def _optim_wrapper(runner):
    try:
        wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    except Exception as error:
        raise ValueError(f'optim_wrapper cannot be built: {type(error).__name__}: {error}'
                         ) from error
    wrapper.initialize_count_status(runner.model, 0, 1)
    return wrapper


def _schedule_lr(runner, optim_wrapper):
    """What the schedules make of the learning rate in the first step."""
    runner.optim_wrapper = optim_wrapper
    if runner.param_schedulers is None:
        return
    try:
        runner.build_param_scheduler(runner.param_schedulers)
    except Exception as error:
        raise ValueError(f'param_scheduler cannot be built: {type(error).__name__}: {error}'
                         ) from error


def _first_batch(loader):
    need_data(loader)
    try:
        return next(iter(loader))
    except StopIteration:
        raise ValueError('train_dataloader gives no batch: are there fewer pictures than '
                         'batch_size, with drop_last=True?') from None
    except Exception as error:
        raise ValueError('the first batch of train_dataloader cannot be loaded: '
                         f'{type(error).__name__}: {error}') from error


def _first_step(model, batch, optim_wrapper):
    """What each term compares, as name -> shapes, and the losses of one training step."""
    seen = {}

    def note(term, args):
        seen[term.spec.name] = args[:2]

    handles = [term.register_forward_pre_hook(note) for term in _distiller(model).values()]
    model.train()
    try:
        losses = model.train_step(batch, optim_wrapper)
    finally:
        for handle in handles:
            handle.remove()
    losses = {key: value.item() for key, value in losses.items()}
    wrong = [f'{key} is {value}' for key, value in losses.items() if not math.isfinite(value)]
    if wrong:
        raise ValueError(f"in the first step, {', '.join(wrong)}")
    return seen, losses


def _distiller(model):
    terms = getattr(model, 'distiller', None)
    return terms if isinstance(terms, nn.ModuleDict) else {}


#: the parts of a network that its description names
_PARTS = ('img_backbone', 'img_neck', 'img_view_transformer', 'img_bev_encoder_backbone',
          'img_bev_encoder_neck', 'voxel_encoder', 'middle_encoder', 'pts_voxel_encoder',
          'pts_middle_encoder', 'pts_backbone', 'pts_neck', 'pts_bbox_head', 'backbone', 'neck',
          'decode_head', 'bbox_head')
#: what a teacher reads -> what it makes of it in another way than the student
_OWN = {('imgs',): '; normalises images in its own way',
        ('points',): '; puts points into voxels in its own way',
        ('points', 'imgs'): '; makes its inputs of points and images in its own way'}


# ---- the description ------------------------------------------------------------------------
def _networks(cfg, model):
    student = getattr(model, 'student', model)
    yield 'student' if student is not model else 'model', _network(student)
    for name, teacher in (getattr(model, 'teachers', None) or {}).items():
        given = teachers_of(cfg.model)[name]
        config = given.config if isinstance(given.config, str) else 'a dict'
        yield teacher.name, (
            f"{_network(teacher.model)}; {config}; weights: {given.get('checkpoint') or 'random'}"
            + (_OWN[teacher.reads] if teacher.own_inputs else ''))


def _network(model):
    parts = [type(part).__name__ for name in _PARTS
             for part in [getattr(model, name, None)] if isinstance(part, nn.Module)]
    parameters = sum(p.numel() for p in model.parameters())
    return f"{type(model).__name__} ({', '.join(parts)}), {parameters:,} parameters"


def _terms(model, seen, losses):
    for name, term in _distiller(model).items():
        own = [f'{key} {value:.4g}' for key, value in losses.items()
               if key == f'loss_{name}' or key.startswith(f'loss_{name}_')]
        shapes = [f'{side} {_tapped(term.taps[side], value)}'
                  for side, value in zip(term.taps, seen.get(name, ()), strict=False)]
        kind = type(term.one_loss).__name__ + (' for each level' if term.by_level else '')
        schedule = term.spec.cfg.get('schedule')
        yield f'term {name}', (
            f'{kind}, weight {term.spec.weight:g}'
            + (f', schedule {dict(schedule)}' if schedule else '')
            + f"; {'; '.join(shapes) or 'not computed yet'}; {', '.join(own) or 'off at first'}")


def _tapped(tap, value):
    """Where a tap is, or several by name, with the shapes of what it gave."""
    if isinstance(tap, dict):
        return ', '.join(f'{name} {_tapped(tap[name], value[name])}' for name in tap)
    return f"'{tap}' {_shape(value)}"


def _shape(value):
    if isinstance(value, torch.Tensor):
        return ' x '.join(map(str, value.shape))
    values = value.values() if isinstance(value, dict) else value
    return '[' + ', '.join(map(_shape, values)) + ']'


def _data(contents, batch):
    for found in contents:
        yield found.loader.removesuffix('_dataloader') + ' data', (
            f'{found.kind}, {found.count} {found.what}'
            + (f', {found.classes} classes' if found.classes else '')
            + ''.join(f'; {note}' for note in found.notes))
    inputs = batch.get('inputs') if isinstance(batch, dict) else None
    kinds = inputs if isinstance(inputs, dict) else {'': inputs}  # by modality
    told = [f"{len(items)} {name + ' ' if name else ''}of {', '.join(dict.fromkeys(shapes))}"
            for name, items in kinds.items() if isinstance(items, (list, tuple)) and items
            and isinstance(items[0], torch.Tensor) and (shapes := [*map(_shape, items)])]
    if told:
        yield 'a batch', '; '.join(told)


def _schedule(cfg, losses):
    loop, optimizer = cfg.train_cfg, (cfg.optim_wrapper or {}).get('optimizer') or {}
    length = [f'{loop[key]} {unit}' for key, unit in (('max_iters', 'iterations'),
                                                      ('max_epochs', 'epochs')) if key in loop]
    yield 'schedule', (f"{', '.join(length)}; {optimizer.get('type')}, lr {optimizer.get('lr')}; "
                       + (f"validation every {loop.val_interval}" if 'val_interval' in loop else
                          'no interval of validation'))
    yield 'first step', ', '.join(f'{key} {value:.4g}' for key, value in losses.items())
    yield 'work dir', os.path.abspath(cfg.work_dir)
