"""Weights that must be exactly those of a model."""
import contextlib

from ..models.teacher import build_model, named_teachers
from ..utils.checkpoint import load_checkpoint_file
from ..utils.weights import misfit, not_finite, students_weights


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
    state = students_weights(loaded, checkpoint)
    own = model.state_dict()
    problem = misfit(own, state)
    if problem is None:
        broken = not_finite(own, state)
        if broken:
            raise ValueError(f'{checkpoint!r} {broken}')
        return {key: state.get(key, value) for key, value in own.items()}, loaded
    teachers = cfg.model.get('teacher')
    what = 'model' if teachers is None else 'student'
    raise ValueError(f'{checkpoint!r} does not hold exactly the {what} of this config: {problem}'
                     + _whose(state, teachers))


def _whose(state, teachers):
    """A sentence about the teacher that the weights are of."""
    with contextlib.suppress(Exception):  # a teacher that cannot be built is not the matter here
        for label, teacher in named_teachers(teachers).values():
            if misfit(build_model(teacher['config'], label).state_dict(), state) is None:
                name = teacher['config'] if isinstance(teacher['config'], str) else 'its own'
                return f'. It holds the {label}: give its config instead ({name})'
    return ''
