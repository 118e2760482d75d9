"""The likeliest slips in a distiller's own keys, each with its cure."""
import inspect

from ...utils.hints import did_you_mean
from ..mistakes import DISTILLATION, Mistakes

#: what a model's config has and a distiller's has not
_OF_A_MODEL = {'backbone', 'neck', 'decode_head', 'auxiliary_head', 'head', 'bbox_head',
               'mask_head', 'rpn_head', 'roi_head', 'pretrained', 'train_cfg', 'test_cfg',
               'init_cfg', 'num_stages', 'panoptic_head', 'encoder', 'decoder'}
_MISSING = dict(
    student='student={{_base_.model}}, or student=dict(config=...)',
    teacher='teacher=dict(config=..., checkpoint=...)',
    distillations='distillations={{_base_.distillations}} with a recipe in _base_, or '
                  "distillations=join_recipes('cwd'), or a dict of terms by name")


def refuse_slips(distiller, student, teacher, distillations, unknown):
    """Raise ValueError, with one message for all, for keys that are missing or unknown.

    Args:
        distiller (type): The distiller's class.
        student, teacher, distillations: As given; None where they are not.
        unknown (dict): What else was given.
    """
    known = [name for name, p in inspect.signature(distiller.__init__).parameters.items()
             if name != 'self' and p.kind is not p.VAR_KEYWORD]
    mistakes, of_student = Mistakes(), student if isinstance(student, dict) else {}
    merged = [key for key in unknown if key in of_student or key in _OF_A_MODEL]
    if merged:
        mistakes.add(
            f"{', '.join(merged)} of the student's model stand beside the distiller's own keys, "
            'because mmengine merges `model` into that of _base_: write model = dict('
            "_delete_=True, type='mmkd.OfflineDistiller', student={{_base_.model}}, ...)")
    for key in unknown:
        if key not in merged and key != '_delete_':  # which stays where there was no model
            mistakes.add(f"{distiller.__name__} has no key {key!r} (it has {', '.join(known)})"
                         + did_you_mean(key, known))
    given = dict(student=student, teacher=teacher, distillations=distillations)
    for key, value in given.items():
        if value is None and not (key == 'student' and merged):
            mistakes.add(f'{key} is missing: write {_MISSING[key]}')
    mistakes.raise_any(DISTILLATION)
