"""What a comparison consists of, checked before anything is trained."""
import contextlib
import fcntl
import os

from ...apis import check_datasets, compose, student_only
from ...utils.checkpoint import safe_load
from ...utils.configs import copy_config, load_model_config, read_config
from ...utils.recipes import recipe_names
from . import metric
from .runs import Run

STUDENT, TEACHER = 'student', 'teacher'


class Plan:
    """The runs that were asked for.

    Args:
        args: Of ``tools/compare.py``: ``student``, ``teacher``, ``teacher_checkpoint``,
            ``train_teacher``, ``recipes``, ``seeds``, ``out``, ``split``, ``metric``, and the
            options in both forms: ``cfg_options``, ``teacher_cfg_options`` (dicts) and the same
            with ``_given`` (as typed).

    Attributes:
        teacher (Run), alone (list of Run), taught ({recipe's name: list of Run}).

    Raises:
        ValueError: Everything that is wrong with what was asked, in one message.
    """

    def __init__(self, args):
        self.args, self.problems, self.configs = args, [], {}
        self.out = os.path.abspath(args.out)
        self.splits = ('val',) if args.split == 'val' else ('val', 'test')
        self._check_arguments()
        for key in (STUDENT, TEACHER):
            self._try(self._read, key)
        self.names = self._recipe_names()
        for name, recipe in self.names.items():
            self._try(self._compose, name, recipe)
        if not self.problems:
            self._try(self._check_student)
            self._try(self._check_teacher)
        self._stop_if_wrong()
        self._make_runs()
        self._try(metric.check, self.alone[0].evaluated, args.metric, args.split)
        self._check_folders()
        self._stop_if_wrong()
        self._make_out()

    @property
    def runs(self):
        """All of them, in the order in which they start: whole seeds first, and in each the
        taught ones, which take longer."""
        students = [runs[i] for i in range(len(self.args.seeds))
                    for runs in [*self.taught.values(), self.alone]]
        return [self.teacher, *students]

    def rows(self):
        """{title: runs of one row of the table}."""
        return {'teacher': [self.teacher], 'student alone': self.alone, **self.taught}

    # ---- checks -----------------------------------------------------------------------------
    def _try(self, check, *args):
        try:
            check(*args)
        except (ValueError, OSError, KeyError) as error:
            self.problems.append(str(error))

    def _stop_if_wrong(self):
        if self.problems:
            raise ValueError('\n'.join(dict.fromkeys(self.problems)))

    def _check_arguments(self):
        args = self.args
        if os.path.exists(self.out) and not os.path.isdir(self.out):
            self.problems.append(f'--out: {self.out} is a file, not a folder')
        twice = [str(seed) for seed in dict.fromkeys(args.seeds) if args.seeds.count(seed) > 1]
        if twice:
            self.problems.append(f"--seeds: {', '.join(twice)} more than once")
        for key, options in (('--cfg-options', args.cfg_options),
                             ('--teacher-cfg-options', args.teacher_cfg_options)):
            wrong = [name for name in options if name.split('.')[0] in ('model', 'randomness')]
            if wrong:
                self.problems.append(
                    f'{key}: {wrong[0]}: a comparison leaves the models as their configs have '
                    'them, and takes seeds from --seeds; change a model in its config, and a '
                    'weight in a recipe file of your own')
        if args.teacher_cfg_options and not args.train_teacher:
            self.problems.append('--teacher-cfg-options: the teacher is not trained (no '
                                 '--train-teacher)')

    def _read(self, key):
        cfg = read_config(getattr(self.args, key), key)
        if cfg.get('model') is None:
            raise ValueError(f'{key}: {getattr(self.args, key)!r} has no model')
        if 'distillations' in cfg.model:
            raise ValueError(f'{key}: {getattr(self.args, key)!r} is a distillation; give the '
                             f"plain {key}'s config")
        self.configs[key] = copy_config(cfg)
        options = self.args.cfg_options if key == STUDENT else self.args.teacher_cfg_options
        self.configs[key].merge_from_dict(options)

    def _recipe_names(self):
        names = {}
        for recipe in self.args.recipes:
            name = '+'.join(os.path.splitext(os.path.basename(part))[0]
                            for part in recipe_names(recipe))
            if name in names:
                self.problems.append(f'--recipes: {names[name]!r} and {recipe!r} have the same '
                                     f'name, {name!r}: rename one of the files')
            elif name in (STUDENT, TEACHER):
                self.problems.append(f"--recipes: {recipe!r} can't be called {name!r}, which is "
                                     'the name of another folder here: rename the file')
            else:
                names[name] = recipe
        return names

    def _compose(self, name, recipe):
        args = self.args
        cfg = compose(args.student, args.teacher, recipe, 'the teacher of the comparison')
        self.configs[name] = copy_config(cfg)
        self.configs[name].merge_from_dict(args.cfg_options)

    def _check_student(self):
        cfg, args = self.configs[STUDENT], self.args
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
            if cfg.get(key) is None:
                raise ValueError(f'student: {args.student!r} has no {key}, so it cannot be trained')
        for split in self.splits:
            if any(cfg.get(f'{split}_{part}') is None for part in ('dataloader', 'evaluator')):
                raise ValueError(f'student: {args.student!r} has no {split}_dataloader and '
                                 f'{split}_evaluator: there is nothing to compare by')
        check_datasets(cfg, ['train_dataloader', *(f'{split}_dataloader' for split in self.splits)])
        backends = (cfg.get('visualizer') or {}).get('vis_backends')
        backends = backends if backends is not None else cfg.get('vis_backends') or []
        if backends and not any(str(backend.get('type')).endswith('LocalVisBackend')
                                for backend in backends):
            raise ValueError(f"student: {args.student!r} writes no scalars.json: put "
                             "dict(type='LocalVisBackend') among its vis_backends")

    def _check_teacher(self):
        args = self.args
        if args.train_teacher:
            check_datasets(self.configs[TEACHER])
        elif '://' not in args.teacher_checkpoint:
            args.teacher_checkpoint = os.path.abspath(os.path.expanduser(args.teacher_checkpoint))
            safe_load(args.teacher_checkpoint)

    def _check_folders(self):
        changed = []
        for run in self.runs:
            lines = run.differences()
            if lines:
                more = f' and {len(lines) - 4} more' if len(lines) > 4 else ''
                changed.append(f'{run.folder}: ' + '; '.join(lines[:4]) + more)
        if changed:
            self.problems.append(
                'these runs are there, but are not what is asked for now:\n  '
                + '\n  '.join(changed)
                + '\nGive another --out, or remove these folders to train them anew')

    def _make_out(self):
        try:
            os.makedirs(self.out, exist_ok=True)
            with open(os.path.join(self.out, '.lock'), 'a'):
                pass
        except OSError as error:
            raise ValueError(f'--out: {self.out} cannot be made or written ({error})') from None

    # ---- runs -------------------------------------------------------------------------------
    def _make_runs(self):
        args = self.args
        self.teacher = self._make_teacher()
        given = list(args.cfg_options_given)
        self.alone = [self._make(STUDENT, seed, [args.student], given) for seed in args.seeds]
        self.taught = {
            name: [self._make(name, seed, ['--student', args.student, '--teacher', args.teacher,
                                           '--recipe', recipe], given, self.teacher)
                   for seed in args.seeds]
            for name, recipe in self.names.items()}

    def _make(self, name, seed, start, options, teacher=None, folder=None):
        cfg = copy_config(self.configs[name])
        cfg.merge_from_dict({'randomness.seed': seed})
        if folder is None:
            folder = os.path.join(self.out, name, f'seed{seed}')
        return Run(name, seed, folder, cfg,
                   [*start, '--cfg-options', f'randomness.seed={seed}', *options],
                   student_only(cfg), self.splits, teacher)

    def _make_teacher(self):
        args, cfg, folder = self.args, self.configs[TEACHER], os.path.join(self.out, TEACHER)
        if args.train_teacher:
            seed = (cfg.get('randomness') or {}).get('seed') or 0
            return self._make(TEACHER, seed, [args.teacher], list(args.teacher_cfg_options_given),
                              folder=folder)
        # Judged on the student's data: its own config may have none.
        evaluated = student_only(self.configs[STUDENT])
        evaluated.model = load_model_config(cfg, TEACHER)[0]
        imports = [name for one in (self.configs[STUDENT], cfg)
                   for name in (one.get('custom_imports') or {}).get('imports', [])]
        if imports:
            evaluated.custom_imports = dict(imports=list(dict.fromkeys(imports)))
        return Run(TEACHER, None, folder, cfg, [], evaluated, self.splits,
                   checkpoint=args.teacher_checkpoint)


@contextlib.contextmanager
def only_one(out):
    """While it lasts, no other comparison works in the folder ``out``.

    Gives a file descriptor for the trainings to inherit: as long as one of them runs, a
    comparison that was killed still holds the folder.
    """
    with open(os.path.join(out, '.lock'), 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f'another comparison, or a training that one started, still runs in '
                             f'{out}: wait for it, or end it') from None
        os.set_inheritable(file.fileno(), True)
        yield file.fileno()
