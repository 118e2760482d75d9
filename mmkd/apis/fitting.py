"""Weights that must be exactly those of a model."""
import contextlib

from ..models.teacher import build_model, named_teachers
from ..utils.checkpoint import load_checkpoint_file
from ..utils.weights import as_held_by, completed, misfit, not_finite, students_weights


def fitting_weights(model, checkpoint, cfg):
    """Load a file that must hold exactly the weights of ``model``, and perhaps a distiller's.

    mmengine would load what fits and go on with random weights for the rest.

    Args:
        model (nn.Module): The student, or any model.
        checkpoint (str): File or address.
        cfg (Config): The config as it was read; its teachers are tried for the message.

    Returns:
        tuple: (key -> tensor, the loaded file).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, does not fit, or holds NaN or infinite values.
    """
    loaded = load_checkpoint_file(checkpoint)
    given = students_weights(loaded, checkpoint)
    own, state = model.state_dict(), as_held_by(model, given)
    problem = misfit(own, state)
    if problem is None:
        broken = not_finite(own, state)
        if broken:
            raise ValueError(f'{checkpoint!r} {broken}')
        return completed(model, state), loaded
    teachers = cfg.model.get('teacher')
    what = 'model' if teachers is None else 'student'
    raise ValueError(f'{checkpoint!r} does not hold exactly the {what} of this config: {problem}'
                     + _whose(given, teachers))


def _whose(state, teachers):
    """A sentence about the teacher that the weights are of."""
    with contextlib.suppress(Exception):  # a teacher that cannot be built is not the matter here
        for label, teacher in named_teachers(teachers).values():
            model = build_model(teacher['config'], label)
            if misfit(model.state_dict(), as_held_by(model, state)) is None:
                name = teacher['config'] if isinstance(teacher['config'], str) else 'its own'
                return f'. It holds the {label}: give its config instead ({name})'
    return ''
