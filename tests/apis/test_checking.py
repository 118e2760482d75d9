"""``train.py --check``: the first step in memory, what will happen, and nothing left behind."""
import os
import sys

import pytest
import torch
from mmengine.runner import Runner

from mmkd.apis import check_training, find_start
from tests.cli import ROOT, write_project
from tests.helpers import runner_config, save_teacher, tiny_distiller, tiny_segmentor


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path / 'here' / 'work'


def left(folder):
    return sorted(os.listdir(folder))


def config(work, terms='kd', **teacher):
    return runner_config(tiny_distiller(terms, **teacher), work)


def test_what_will_happen(work, tmp_path):
    file, weights = save_teacher(tmp_path)
    terms = dict(logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), weight=3.),
                 late=dict(tap='head', loss=dict(type='mmkd.ATLoss'), weight=2., schedule=dict(
                     type='linear', begin=2, end=4)))
    cfg = config(work, terms, teacher=file, checkpoint=weights)
    before = cfg.to_dict()
    text = check_training(cfg)
    lines = {line.split('  ')[0]: line for line in text.splitlines()}
    parameters = sum(p.numel() for p in torch.load(weights)['state_dict'].values()
                     if p.is_floating_point())
    assert 'EncoderDecoder (ResNetV1c, FCNHead)' in lines['student']
    for part in ('PSPHead', file, f'weights: {weights}'):
        assert part in lines['teacher']
    assert parameters > int(lines['teacher'].split(' parameters')[0].split()[-1].replace(',', ''))
    for part in ('KDLoss, weight 3', "student 'decode_head.conv_seg' 2 x 4 x 4 x 4",
                 "teacher 'decode_head.conv_seg' 2 x 4 x 4 x 4", 'loss_logits '):
        assert part in lines['term logits']
    assert "schedule {'type': 'linear', 'begin': 2, 'end': 4}" in lines['term late']
    assert '2 of 3 x 32 x 32' in lines['a batch']
    assert '4 iterations; SGD, lr 0.01; validation every 4' in lines['schedule']
    assert 'decode.loss_ce' in lines['first step'] and str(work) in lines['work dir']
    assert left(work.parent) == [] and cfg.to_dict() == before


def test_a_model_without_a_teacher(work):
    text = check_training(runner_config(tiny_segmentor(), work))
    labels = [line.split('  ')[0] for line in text.splitlines()]
    assert labels == ['model', 'a batch', 'schedule', 'first step', 'work dir']


@pytest.mark.parametrize('change, part', [
    (lambda cfg: cfg.model.distillations.logits.update(tap='logit'), "term 'logits'"),
    (lambda cfg: cfg.optim_wrapper.optimizer.update(lrr=3), 'lrr'),
    (lambda cfg: cfg.optim_wrapper.optimizer.update(type='SDG'), 'optim_wrapper'),
    (lambda cfg: cfg.val_evaluator.update(type='IoUMetrics'), 'IoUMetrics'),
    (lambda cfg: cfg.train_cfg.update(max_iter=3), 'max_iter'),
    (lambda cfg: cfg.train_dataloader.dataset.update(length=0), 'train_dataloader is empty'),
    (lambda cfg: cfg.param_scheduler[0].update(type='PolyLRR'), 'param_scheduler cannot be built'),
    (lambda cfg: cfg.train_dataloader.dataset.update(size='a'), 'train_dataloader cannot be load'),
    (lambda cfg: cfg.pop('train_dataloader'), 'no train_dataloader'),
    (lambda cfg: cfg.model.student.decode_head.update(loss_decode=dict(
        type='CrossEntropyLoss', loss_weight=float('nan'))), 'decode.loss_ce is nan'),
])
def test_mistakes(work, change, part):
    cfg = config(work)
    change(cfg)
    with pytest.raises((ValueError, TypeError, KeyError)) as told:
        check_training(cfg)
    assert part in str(told.value)
    assert left(work.parent) == []


@pytest.mark.parametrize('schedule', [
    dict(type='cosine'), dict(type='linear', begin=0.5), dict(type='stop', end=0.5)])
def test_times_may_be_fractions_of_the_training(work, schedule):
    terms = dict(logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), schedule=schedule))
    assert 'term logits' in check_training(config(work, terms))


def test_what_training_would_go_on_from(work, tmp_path):
    other = runner_config(tiny_segmentor(), tmp_path / 'other', iters=1)
    Runner.from_cfg(other).train()
    cfg, file = config(work), str(tmp_path / 'other' / 'iter_1.pth')
    start = find_start(cfg, file)
    with pytest.raises(ValueError, match='is of a training without a teacher'):
        check_training(cfg, start)
    cfg.resume, cfg.load_from = False, file
    assert 'term logits' in check_training(cfg, find_start(cfg))


def test_as_a_tool(tmp_path, monkeypatch, capsys):
    folder = write_project(tmp_path)
    before = left(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(os.path.join(ROOT, 'tools'))
    monkeypatch.setattr(sys, 'argv', ['train.py'])
    import _common
    import train
    args = ['--student', 'student.py', '--teacher', 'teacher.py', '--teacher-checkpoint',
            'teacher.pth', '--recipe', 'cwd,at', '--check', '--work-dir', str(folder / 'new')]
    _common.run(train.main, train.parse_args(args))
    out = capsys.readouterr().out
    for part in ('term logits', 'term at_logits', 'term feature', 'CityscapesDataset, 8 pictures, '
                 '19 classes', f"weights: {folder / 'teacher.pth'}", str(folder / 'new')):
        assert part in out
    assert len(out.splitlines()) < 20
    with pytest.raises(SystemExit) as stopped:
        _common.run(train.main, train.parse_args(
            [*args, '--cfg-options', 'model.student.decode_head.num_classes=10']))
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert message.count('error: ') == 1 and 'num_classes=10' in message
    assert left(folder) == before
