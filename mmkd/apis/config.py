"""Composing and checking configs for the tools."""
import contextlib
import os

from ..utils.config_files import config_root
from ..utils.configs import copy_config, is_distiller, load_model_config, read_config, settle
from ..utils.custom_modules import imports_of, join_imports
from ..utils.provenance import clean_head
from ..utils.recipes import join_terms, read_recipe, recipe_names, task_of
from .amp import use_stock_amp
from .slips import check_model, need_model


def compose(student, teacher, recipe, teacher_checkpoint=None, allow_random=False):
    """The config of a distillation from three names, as a leaf config would write it.

    Args:
        student, teacher (str): Config paths, or ``mmseg::`` or ``mmdet::`` names. Data, schedule
            and everything else come from the student's.
        recipe (str | list of str): Names of recipes, or paths of files with
            ``distillations``; several are joined (:func:`join_recipes`), as in 'cwd,at'. A name
            that segmentation and detection both have means that of the student's library.
        teacher_checkpoint (str, optional): The teacher's weights.
        allow_random (bool): Accept a teacher without weights.

    Raises:
        FileNotFoundError: A config or recipe does not exist.
        ValueError: The recipe defines no ``distillations``, or several things are wrong.
    """
    names = [recipe] if isinstance(recipe, (str, os.PathLike)) else list(recipe)
    problems = []

    def tried(function, *args):
        try:
            return function(*args)
        except (FileNotFoundError, ValueError) as error:
            problems.append(error)
        return None

    cfg = tried(read_config, student, 'student')
    if cfg is not None and cfg.get('model') is None:
        problems.append(ValueError(f'student: {student!r} has no model'))
    tried(read_config, teacher, 'teacher')
    task = task_of(cfg or {})
    distillations = tried(join_terms, names, None, (), task)
    if len(problems) > 1:
        raise ValueError('\n'.join(map(str, problems)))
    if problems:
        raise problems[0]
    names = recipe_names(*names)
    # The config that is written into the work dir is good in any folder.
    teacher = teacher if '::' in teacher else os.path.abspath(teacher)
    if teacher_checkpoint is not None and '://' not in teacher_checkpoint:
        teacher_checkpoint = os.path.abspath(os.path.expanduser(teacher_checkpoint))
    cfg.model = dict(
        type='mmkd.OfflineDistiller', student=cfg.model, distillations=distillations,
        teacher=dict(config=teacher, checkpoint=teacher_checkpoint, allow_random=allow_random))
    # A recipe's loss may be a class of the user's.
    join_imports(cfg, [cfg, *(read_recipe(name, (), task) for name in names)])
    return cfg


def prepare(cfg):
    """What mmkd's tools add to any config: the hook for plain checkpoints and exact resume,
    which commit it is (``git_sha``, if the code is a clean clone), and that evaluations of a
    training by iterations are logged by iteration (mmdet's default is the epoch, always 0)."""
    check_model(cfg)
    # What is still relative comes from the command line: the current folder is meant.
    settle(cfg, lambda path: [os.getcwd(), os.path.dirname(os.path.abspath(cfg.filename or ''))])
    with contextlib.suppress(ValueError):
        cfg.git_sha = clean_head(os.path.dirname(config_root()))
    logger = (cfg.get('default_hooks') or {}).get('logger')
    by_iteration = str((cfg.get('train_cfg') or {}).get('type')).endswith('IterBasedTrainLoop')
    if by_iteration and isinstance(logger, dict) and str(logger.get('type')).endswith('LoggerHook'):
        logger.setdefault('log_metric_by_epoch', False)
    hooks = list(cfg.get('custom_hooks') or [])
    every = hooks + list((cfg.get('default_hooks') or {}).values())
    if not any(isinstance(hook, dict) and str(hook.get('type')).endswith('ExactResumeHook')
               for hook in every):
        cfg.custom_hooks = [*hooks, dict(type='mmkd.ExactResumeHook')]
    return cfg


def student_only(cfg):
    """The config with the bare student as its model, and nothing of mmkd in it."""
    need_model(cfg)
    cfg = copy_config(cfg)
    if is_distiller(cfg.model):
        cfg.model = load_model_config(cfg, 'student')[0]
    cfg.pop('distillations', None)
    use_stock_amp(cfg)
    hooks = cfg.pop('custom_hooks', None) or []
    hooks = [h for h in hooks if not str(h.get('type')).startswith('mmkd.')]
    names = [name for name in imports_of(cfg) if name.partition('.')[0] != 'mmkd']
    if hooks:
        cfg.custom_hooks = hooks
    imports = cfg.pop('custom_imports', None)
    if names:
        cfg.custom_imports = dict(imports, imports=names)
    return cfg
