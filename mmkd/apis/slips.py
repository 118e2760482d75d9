"""Slips in a training config that would do nothing, or something else, told before it is used."""
import inspect

from mmengine.runner import Runner

from ..registry import MODELS
from ..utils.configs import is_distiller
from ..utils.hints import did_you_mean

_WRITE = ("model = dict(_delete_=True, type='mmkd.OfflineDistiller', student={{_base_.model}}, "
          'distillations={{_base_.distillations}}, teacher=dict(config=..., checkpoint=...))')
#: what the Runner and its hooks read of a config besides the Runner's own arguments
_ALSO_READ = {'activation_checkpointing', 'auto_scale_lr', 'compile', 'custom_imports',
              'dist_cfg', 'efficient_conv_bn_eval', 'env_cfg', 'find_unused_parameters',
              'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'tta_model',
              'tta_pipeline'}


def need_model(cfg):
    """Raise ValueError if the config has no model."""
    if not isinstance(cfg.get('model'), dict):
        near = did_you_mean('model', [key for key in cfg if isinstance(cfg[key], dict)])
        raise ValueError(f'config {cfg.filename!r} has no model{near}')


def check_model(cfg):
    """Refuse a config that means to distil and would not.

    Raises:
        ValueError: There is no model, terms or teachers are given to what is no distiller, or
            the type is none of mmkd's.
    """
    need_model(cfg)
    model, kind = cfg.model, cfg.model.get('type')
    if is_distiller(model):
        return
    if isinstance(kind, str) and kind.startswith('mmkd.') and MODELS.get(kind) is None:
        raise ValueError(f'model: there is no type {kind!r}'
                         + did_you_mean(kind, ['mmkd.OfflineDistiller']))
    own = [key for key in ('student', 'teacher', 'distillations') if key in model]
    if 'distillations' in own or (own and kind is None):
        raise ValueError(f"model has {', '.join(own)}, but its type is {kind!r}, which is no "
                         f'distiller: write {_WRITE}')
    if cfg.get('distillations'):
        misspelt = did_you_mean('model', [key for key in cfg if is_distiller(cfg[key])])
        raise ValueError(f'the config has a recipe (distillations), but its model is {kind!r}, so '
                         f'nothing would be distilled{misspelt or ": write " + _WRITE}')


def merge_options(cfg, options, flag='--cfg-options'):
    """Put the command line's ``--cfg-options`` (or those of another ``flag``) into ``cfg``.

    Raises:
        ValueError: An option that nothing would read. mmengine makes a new key of a misspelt
            one, and goes on.
    """
    read = {*inspect.signature(Runner.__init__).parameters, *_ALSO_READ} - {'self'}
    for option in options:
        first = option.partition('.')[0]
        if first == 'distillations' and is_distiller(cfg.get('model')):
            raise ValueError(f'{flag} {option}: what is trained stands in the model; write '
                             f'model.{option}')
        if first not in cfg and first not in read:
            raise ValueError(
                f'{flag} {option}: the config has no {first!r}, and nothing would read it'
                + did_you_mean(first, sorted({*cfg, *read})))
        _check_places(cfg, option, flag)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError) as error:
        text = error.args[0] if error.args else error
        raise ValueError(f"{flag} {' '.join(options)}: {text}") from error


def _check_places(cfg, option, flag):
    """A number in a key is a place in a list; without a list, mmengine would make a dict."""
    value, path = dict(cfg.items()), []
    for part in option.split('.'):
        if part.isdecimal() and not isinstance(value, (list, tuple)) and not (
                isinstance(value, dict) and part in value):
            raise ValueError(f"{flag} {option}: {'.'.join(path)} is no list, so nothing is at its "
                             f'place {part}: write what is to stand there in a config')
        path.append(part)
        value = value.get(part) if isinstance(value, dict) else (
            value[int(part)] if part.isdecimal() and int(part) < len(value) else None
        ) if isinstance(value, (list, tuple)) else None
