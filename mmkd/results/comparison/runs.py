"""One model of a comparison: trained and evaluated by the tools, in a folder of its own."""
import datetime
import json
import os
import sys
from dataclasses import dataclass

from ...apis import latest_checkpoint
from ...utils.checkpoint import safe_load
from ...utils.config_files import tools_root
from ...utils.provenance import sha256
from ..metafiles import write_if_changed
from . import readings
from .identity import as_json, fingerprint, flat, weights_id

#: what of a config changes no result
_FREE = ('work_dir', 'launcher', 'resume', 'git_sha')


@dataclass
class Step:
    """One process of a run: a training or an evaluation."""
    name: str
    command: list
    log: str


class Run:
    """A training with its evaluations, and the record of both in ``<folder>/run.json``.

    Args:
        name (str): What is trained: 'student', 'teacher' or a recipe's name.
        seed (int): Its seed.
        folder (str): Its work dir.
        config (Config): What ``tools/train.py`` will train.
        arguments (list[str]): Which arguments make it do so.
        evaluated (Config): The bare model with the data it is evaluated on.
        splits (tuple): Which of 'val' and 'test' must be evaluated.
        teacher (Run, optional): Who teaches it.
        checkpoint (str, optional): Weights that are there already: nothing is trained.

    Attributes:
        failure (str | None): Why it can't be finished, with the end of its log.
    """

    def __init__(self, name, seed, folder, config, arguments, evaluated, splits=('val',),
                 teacher=None, checkpoint=None):
        self.name, self.seed, self.folder = name, seed, folder
        self.config, self.arguments, self.evaluated = config, arguments, evaluated
        self.splits, self.teacher, self.given = splits, teacher, checkpoint
        self.failure = None
        self.record = self._read_record()

    @property
    def title(self):
        return self.name if self.given else f'{self.name} seed {self.seed}'

    @property
    def needs(self):
        """The run that has to be finished before."""
        return self.teacher if self.teacher is not None and self.teacher.given is None else None

    # ---- what is asked for ------------------------------------------------------------------
    def asked(self):
        """The config as plain data, without what changes no result; weights by what they are."""
        asked = as_json({key: value for key, value in self.config.to_dict().items()
                         if key not in _FREE})
        if self.teacher is not None:
            asked['model']['teacher']['checkpoint'] = self.teacher.weights
        return asked

    def differences(self):
        """Where what is there was made from another config than what is asked for now."""
        if not self.record:
            there = [name for name in (os.listdir(self.folder) if os.path.isdir(self.folder)
                                       else []) if name.endswith(('.pth', '.log'))]
            return [f'{there[0]} is there, of no comparison'] if there else []
        if 'fingerprint' not in self.record:
            return []  # an evaluation of weights that were given
        wanted, there = flat(self.asked()), flat(self.record['config'])
        return [f'{key}: {there.get(key)!r} instead of {wanted.get(key)!r}'
                for key in dict.fromkeys([*wanted, *there]) if wanted.get(key) != there.get(key)]

    # ---- what is there ----------------------------------------------------------------------
    @property
    def trained(self):
        """dict(file, sha256, iterations, epochs) of the final checkpoint; None before."""
        if self.given is not None:
            return dict(file=self.given, sha256=self.weights, iterations=None, epochs=None)
        trained = self.record.get('trained')
        return trained if trained and os.path.isfile(self.path_of(trained['file'])) else None

    @property
    def checkpoint(self):
        """The final weights' file; None before."""
        if self.given is not None:
            return self.given
        return self.path_of(self.trained['file']) if self.trained else None

    @property
    def weights(self):
        """What identifies the final weights; None before."""
        if self.given is not None:
            return weights_id(self.given)
        return self.trained['sha256'] if self.trained else None

    def path_of(self, name):
        return os.path.join(self.folder, name)

    def metrics(self, split):
        """The metrics of the final weights on 'val' or 'test'; None if not evaluated."""
        trained = self.trained
        if trained is None:
            return None
        held = self.record.get('evaluations', {}).get(split)
        if held is not None and held['weights'] == trained['sha256']:
            return held['metrics']
        if split == 'val' and not self.given:
            last = readings.evaluation_records(self.folder)[-1:]
            if last and last[0]['step'] in (trained['iterations'], trained['epochs']):
                return readings.metrics_of(last[0])
        return None

    # ---- what is to be done -----------------------------------------------------------------
    def next_step(self):
        """The next process to start; None when the run is finished."""
        if self.trained is None:
            return self._training()
        for split in self.splits:
            if self.metrics(split) is None:
                return self._evaluation(split)
        return None

    def _training(self):
        command = [sys.executable, os.path.join(tools_root(), 'train.py'), *self.arguments]
        if self.teacher is not None:
            command += ['--teacher-checkpoint', self.teacher.checkpoint]
        command += ['--work-dir', self.folder]
        if self.record.get('sessions'):
            command.append('--resume')
        return Step('train', command, self.path_of('train.log'))

    def _evaluation(self, split):
        folder = self.path_of(f'evaluation_{split}')
        return Step(split, [sys.executable, os.path.join(tools_root(), 'test.py'),
                            os.path.join(folder, 'model.py'), self.checkpoint,
                            '--work-dir', folder], os.path.join(folder, 'test.log'))

    def began(self, step, threads):
        """Called before a process is started."""
        os.makedirs(os.path.dirname(step.log), exist_ok=True)
        if step.name == 'train':
            asked = self.asked()
            self._note(config=asked, fingerprint=fingerprint(asked), threads=threads,
                       command=[part for part in step.command if part != '--resume'],
                       sessions=self.record.get('sessions', [])
                       + [dict(began=_now(), seconds=None, peak_memory=None, code=None)])
            return
        cfg = self.evaluated.copy()
        for part in ('dataloader', 'evaluator'):
            cfg[f'test_{part}'] = cfg[f'{step.name}_{part}']
        cfg.test_cfg = cfg.get('test_cfg') or dict(type='TestLoop')
        cfg.dump(os.path.join(os.path.dirname(step.log), 'model.py'))

    def ended(self, step, code, seconds, peak_memory):
        """Called when a process has ended; notes what came of it, or why nothing did."""
        if step.name == 'train' and self.record.get('sessions'):
            self.record['sessions'][-1].update(seconds=seconds, peak_memory=peak_memory, code=code)
            self._note()
        try:
            if code:
                raise ValueError(_why(code))
            self._note_training() if step.name == 'train' else self._note_evaluation(step.name)
        except (ValueError, OSError) as error:
            self.failure = f'{error}; the end of {step.log}:\n{tail(step.log)}'

    def _note_training(self):
        path = latest_checkpoint(self.folder)
        if path is None:
            raise ValueError('the training ended without a checkpoint')
        meta = safe_load(path).get('meta', {})
        self._note(trained=dict(file=os.path.basename(path), sha256=sha256(path),
                                iterations=meta.get('iter'), epochs=meta.get('epoch')))

    def _note_evaluation(self, split):
        metrics = readings.test_metrics(self.path_of(f'evaluation_{split}'))
        if metrics is None:
            raise ValueError('the evaluation wrote no metric')
        self._note(evaluations=dict(self.record.get('evaluations', {}),
                                    **{split: dict(metrics=metrics, weights=self.weights)}))

    # ---- how far it is ----------------------------------------------------------------------
    @property
    def length(self):
        """Iterations, or epochs where the training counts those."""
        loop = self.config.get('train_cfg') or {}
        return loop.get('max_iters') or loop.get('max_epochs') or 1

    def done(self):
        """How many of them are done, as far as it has logged."""
        if self.trained is not None:
            return self.length
        records = readings.training_records(self.folder)
        if not records:
            return 0
        by_iteration = (self.config.get('train_cfg') or {}).get('max_iters')
        return records[-1]['step'] if by_iteration else records[-1].get('epoch', 1) - 1

    @property
    def threads(self):
        """What its first session ran with: another number changes the last bits."""
        return self.record.get('threads')

    @property
    def peak_memory(self):
        """Bytes, the most of all sessions; None if not known."""
        peaks = [session['peak_memory'] for session in self.record.get('sessions', [])]
        return max((peak for peak in peaks if peak), default=None)

    # ---- the record -------------------------------------------------------------------------
    def _read_record(self):
        try:
            with open(self.path_of('run.json'), encoding='utf-8') as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def _note(self, **what):
        self.record.update(what)
        os.makedirs(self.folder, exist_ok=True)
        write_if_changed(self.path_of('run.json'), json.dumps(self.record, indent=1) + '\n')


def tail(path, lines=15):
    """The end of a log."""
    if not os.path.isfile(path):
        return '(no log)'
    with open(path, errors='replace') as file:
        return ''.join(file.readlines()[-lines:]).rstrip()


def _why(code):
    if code == -9:
        return 'killed by the system (signal 9; often for want of memory: try --jobs 1)'
    return f'ended by signal {-code}' if code < 0 else f'failed (exit code {code})'


def _now():
    return datetime.datetime.now().isoformat(timespec='seconds')
