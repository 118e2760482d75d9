"""Composing and checking configs for the tools."""
import contextlib
import os

from mmengine.config import Config

from ..results.evidence import clean_head
from ..utils.config_files import config_root
from ..utils.configs import is_distiller, load_model_config, read_config, settle
from ..utils.recipes import join_recipes, read_recipe, recipe_names
from .slips import check_model, need_model

#: where each dataset comes from, for the message when it is missing
_SOURCES = dict(
    CityscapesDataset=(
        'get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com, '
        'unpack them there, and run '
        'mmseg/.mim/tools/dataset_converters/cityscapes.py on the folder',
        'cityscapes'),
    PascalVOCDataset=(
        'get VOCtrainval_11-May-2012.tar from host.robots.ox.ac.uk/pascal/VOC/voc2012, unpack it '
        'there, and for the augmented set run mmseg/.mim/tools/dataset_converters/voc_aug.py',
        'voc'),
)


def compose(student, teacher, recipe, teacher_checkpoint=None, allow_random=False):
    """The config of a distillation from three names, as a leaf config would write it.

    Args:
        student, teacher (str): Config paths or ``mmseg::`` names. Data, schedule and
            everything else come from the student's.
        recipe (str | list of str): Names of recipes, or paths of files with
            ``distillations``; several are joined (:func:`join_recipes`), as in 'cwd,at'.
        teacher_checkpoint (str, optional): The teacher's weights.
        allow_random (bool): Accept a teacher without weights.

    Raises:
        FileNotFoundError: A config or recipe does not exist.
        ValueError: The recipe defines no ``distillations``.
    """
    names = recipe_names(*([recipe] if isinstance(recipe, (str, os.PathLike)) else recipe))
    distillations = join_recipes(*names)
    cfg = read_config(student, 'student')
    if cfg.get('model') is None:
        raise ValueError(f'student: {student!r} has no model')
    read_config(teacher, 'teacher')  # a wrong name is told here, before anything is built
    # The config that is written into the work dir is good in any folder.
    teacher = teacher if '::' in teacher else os.path.abspath(teacher)
    if teacher_checkpoint is not None and '://' not in teacher_checkpoint:
        teacher_checkpoint = os.path.abspath(os.path.expanduser(teacher_checkpoint))
    cfg.model = dict(
        type='mmkd.OfflineDistiller', student=cfg.model, distillations=distillations,
        teacher=dict(config=teacher, checkpoint=teacher_checkpoint, allow_random=allow_random))
    imports = [module for each in (cfg, *map(read_recipe, names)) for module in _imports(each)]
    if imports:  # a recipe's loss may be a class of the user's
        cfg.custom_imports = dict(cfg.get('custom_imports') or {},
                                  imports=list(dict.fromkeys(imports)))
    return cfg


def _imports(cfg):
    """The modules in ``custom_imports``."""
    names = (cfg.get('custom_imports') or {}).get('imports') or []
    return [names] if isinstance(names, str) else list(names)


def prepare(cfg):
    """What mmkd's tools add to any config: the hook for plain checkpoints and exact resume, and
    which commit it is (``git_sha``, if the code is a clean clone)."""
    check_model(cfg)
    # What is still relative comes from the command line: the current folder is meant.
    settle(cfg, lambda path: [os.getcwd(), os.path.dirname(os.path.abspath(cfg.filename or ''))])
    with contextlib.suppress(ValueError):
        cfg.git_sha = clean_head(os.path.dirname(config_root()))
    hooks = list(cfg.get('custom_hooks') or [])
    every = hooks + list((cfg.get('default_hooks') or {}).values())
    if not any(isinstance(hook, dict) and str(hook.get('type')).endswith('ExactResumeHook')
               for hook in every):
        cfg.custom_hooks = [*hooks, dict(type='mmkd.ExactResumeHook')]
    return cfg


def student_only(cfg):
    """The config with the bare student as its model, and nothing of mmkd in it."""
    need_model(cfg)
    cfg = Config(cfg.to_dict(), cfg_text=cfg.pretty_text, filename=cfg.filename)
    if is_distiller(cfg.model):
        cfg.model = load_model_config(cfg, 'student')[0]
    cfg.pop('distillations', None)
    hooks = cfg.pop('custom_hooks', None) or []
    hooks = [h for h in hooks if not str(h.get('type')).startswith('mmkd.')]
    names = [name for name in _imports(cfg) if name.partition('.')[0] != 'mmkd']
    if hooks:
        cfg.custom_hooks = hooks
    imports = cfg.pop('custom_imports', None)
    if names:
        cfg.custom_imports = dict(imports, imports=names)
    return cfg


def check_datasets(cfg, loaders=('train_dataloader', 'val_dataloader')):
    """Raise FileNotFoundError when the data that ``cfg`` reads are not there.

    The message says where each should be and how to get it.
    """
    problems = []
    for loader in loaders:
        for dataset in _datasets((cfg.get(loader) or {}).get('dataset')):
            root = dataset.get('data_root') or ''
            parts = [p for p in (dataset.get('data_prefix') or {}).values() if isinstance(p, str)]
            wanted = [os.path.join(root, p) for p in parts] or [root]
            if dataset.get('ann_file'):
                wanted.append(os.path.join(root, dataset['ann_file']))
            missing = [path for path in wanted if path and '://' not in path
                       and not os.path.exists(path)]
            if missing:
                problems.append(_how_to_get(loader, dataset, root, missing))
    if problems:
        raise FileNotFoundError('\n'.join(dict.fromkeys(problems)))


def _how_to_get(loader, dataset, root, missing):
    kind = str(dataset.get('type')).rpartition('.')[2]
    where = ', '.join(os.path.abspath(path) for path in missing)
    text = f'{kind} of {loader}: {where} does not exist.'
    if kind in _SOURCES:
        how, layout = _SOURCES[kind]
        made = os.path.normpath(root)
        if layout == 'voc' and made.endswith(os.path.join('VOCdevkit', 'VOC2012')):
            made = os.path.dirname(os.path.dirname(made))
        text += (f' To get it: {how}. To try the pipeline without it: '
                 f'python tools/make_street_scenes.py {layout} {made}')
    return text + '. If you have it elsewhere: --cfg-options ' \
                  f'{loader}.dataset.data_root=/where/it/is'


def _datasets(dataset):
    """The leaf datasets in (possibly nested) wrappers."""
    if not isinstance(dataset, dict):
        return []
    inner = dataset.get('dataset') or dataset.get('datasets')
    if inner is None:
        return [dataset]
    return [leaf for item in (inner if isinstance(inner, (list, tuple)) else [inner])
            for leaf in _datasets(item)]
