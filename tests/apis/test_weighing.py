"""Weighing a config: the stages it measures, what it refuses, and that it leaves no trace."""
import json
import os
import random

import numpy as np
import pytest
import torch
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmkd.apis.weighing import weigh
from mmkd.engine.randomness import random_state
from mmkd.results.term_weights import term_weights
from tests.cli import load_tool
from tests.helpers import build, runner_config, tiny_distiller, tiny_segmentor

pytestmark = pytest.mark.filterwarnings('ignore')


def config(folder, terms='fitnet', iters=4, **others):
    cfg = runner_config(tiny_distiller(terms), folder / 'work', iters, **others)
    cfg.default_hooks.checkpoint.interval = 2
    return cfg


def figures(stage):
    return {name: (row['ratio'], row['cosine'], row['loss']) for name, row in stage['rows'].items()}


@pytest.mark.slow
def test_a_stage_in_memory_is_the_checkpoint_of_that_training(tmp_path):
    cfg = config(tmp_path)
    start, later = weigh(cfg, batches=2, after=[2, 0])
    assert not (tmp_path / 'work').exists()
    assert [start['iteration'], later['iteration'], later['batches']] == [0, 2, 2]
    assert figures(start) != figures(later)
    # Measuring before does not change the training that follows ...
    assert figures(weigh(cfg, batches=2, after=[2])[0]) == figures(later)
    # ... which is the training.
    Runner.from_cfg(cfg).train()
    files = sorted(os.listdir(tmp_path / 'work'))
    first, second = weigh(cfg, batches=2, checkpoints=[
        str(tmp_path / 'work' / f'iter_{i}.pth') for i in (2, 4)])
    assert sorted(os.listdir(tmp_path / 'work')) == files
    assert (first['iteration'], second['iteration']) == (2, 4)
    assert f"weights of {tmp_path / 'work' / 'iter_2.pth'}, iteration 2" in first['stage']
    assert figures(first) == figures(later)


def test_other_iterations_see_their_own_schedule(tmp_path):
    cfg = config(tmp_path, 'kd', iters=4)
    cfg.model.distillations.logits.schedule = dict(type='linear', begin=0., end=1.)
    stages = weigh(cfg, batches=1, after=[0, 2, 4])
    assert [stage['rows']['logits']['schedule'] for stage in stages] == [0, .5, 1]
    assert 'off by its schedule' in term_weights(stages[:1])


def test_nothing_of_the_process_or_the_config_changes(tmp_path):
    cfg = config(tmp_path)
    text = cfg.pretty_text
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    before = random_state()
    weigh(cfg, batches=1)
    after = random_state()
    assert cfg.pretty_text == text
    assert os.listdir(tmp_path) == []
    assert after['python'] == before['python'] and torch.equal(after['torch'], before['torch'])
    assert torch.equal(after['numpy'][1], before['numpy'][1])


def test_a_runner_of_the_users_own_trains_before_a_stage(tmp_path):
    trained = []

    @RUNNERS.register_module(force=True)
    class WeighingRunner(Runner):
        def train(self):
            trained.append(self.work_dir)
            return super().train()

    weigh(config(tmp_path, 'kd', runner_type='WeighingRunner'), batches=1)
    assert len(trained) == 1


def test_a_students_own_checkpoint_has_no_connectors(tmp_path):
    student = build(tiny_segmentor())
    file = str(tmp_path / 'student.pth')
    torch.save(dict(state_dict=student.state_dict()), file)
    stage, = weigh(config(tmp_path), batches=1, checkpoints=[file])
    assert stage['iteration'] == 0
    assert '1 of 1 tensors of connectors and losses are not in it' in stage['stage']


def test_epochs_are_fine_and_few_pictures_give_few_batches(tmp_path):
    cfg = config(tmp_path, train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2))
    cfg.param_scheduler = None
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    stages = weigh(cfg, batches=8, after=[0, 5])
    assert [stage['batches'] for stage in stages] == [4, 4]


@pytest.mark.parametrize(('arguments', 'text'), [
    (dict(after=[5]), r'--after 5: the training has 4 iterations'),
    (dict(batches=0), 'at least one batch'),
    (dict(ratio=0.), 'a ratio above 0'),
    (dict(ratio=float('nan')), 'a ratio above 0'),
    (dict(after=[-1]), 'iterations from 0')])
def test_arguments_that_make_no_sense_are_refused(tmp_path, arguments, text):
    with pytest.raises(ValueError, match=text):
        weigh(config(tmp_path), **{'batches': 1, **arguments})


def test_what_is_no_distillation_or_no_checkpoint_of_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match='has no distiller'):
        weigh(runner_config(tiny_segmentor(), tmp_path / 'work'))
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        weigh(config(tmp_path), checkpoints=['nowhere.pth'])
    other = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict=build(tiny_segmentor(width=4)).state_dict()), other)
    with pytest.raises(ValueError, match='student: .*other.pth'):
        weigh(config(tmp_path), checkpoints=[other])
    assert not (tmp_path / 'work').exists()


def run_tool(*argv):
    """tools/weigh_terms.py in this process: its arguments read, its main run."""
    module = load_tool('weigh_terms')
    module.main(module.parse_args([str(arg) for arg in argv]))


def test_the_tool_prints_the_table_and_writes_it_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = config(tmp_path)
    cfg.custom_imports = dict(imports=['tests.helpers'])
    cfg.dump(str(tmp_path / 'distill.py'))
    for name in ('table.md', 'table.json'):
        run_tool('distill.py', '--batches', 1, '--ratio', .5, '--out', name, '--cfg-options',
                 'model.distillations.feature.weight=4')
    page = (tmp_path / 'table.md').read_text()
    assert capsys.readouterr().out == page * 2
    row, = (line for line in page.splitlines() if line.startswith('| feature | 4 |'))
    stage, = json.loads((tmp_path / 'table.json').read_text())
    suggested = f"{stage['rows']['feature']['suggested']:.3g}"
    assert row.endswith(f'| {suggested} |')
    assert f'model.distillations.feature.weight={suggested}' in page
    assert sorted(os.listdir(tmp_path)) == ['distill.py', 'table.json', 'table.md']
    for name in ('table.txt', 'no/folder.md'):
        with pytest.raises((ValueError, FileNotFoundError), match='--out'):
            run_tool('distill.py', '--out', name)
