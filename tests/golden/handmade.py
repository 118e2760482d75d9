"""Reference cases small enough for pencil and paper, written to files like the recorded ones."""
import json
import math

import numpy as np

# One pixel (or channel) with student scores 0, 0 and teacher scores ln 3, 0: the teacher's
# softmax is 3/4, 1/4, the student's 1/2, 1/2.
SCORES = {'in__student': [0., 0.], 'in__teacher': [math.log(3), 0.]}
KL = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
SLOPE = np.array([-0.25, 0.25])


def write_case(folder, name, source, args, arrays, **info):
    """Writes NAME.json and NAME.npz; returns the json's path."""
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    np.savez(folder / f'{name}.npz', **arrays)
    path = folder / f'{name}.json'
    path.write_text(json.dumps({'case': name, 'source': source, 'official_args': args,
                                'dtype': 'float64', **info}))
    return path


def write_dotted(folder, name, args, arrays, source='by hand', dtype=np.float32):
    """Writes NAME.json and NAME.npz with dotted names, floats in ``dtype``; returns the path."""
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    arrays = {key: value.astype(dtype) if value.dtype.kind == 'f' else value
              for key, value in arrays.items()}
    np.savez(folder / f'{name}.npz', **arrays)
    described = {key: {'shape': list(value.shape), 'dtype': str(value.dtype), 'meaning': ''}
                 for key, value in arrays.items()}
    method, _, kind = name.partition('__')
    path = folder / f'{name}.json'
    path.write_text(json.dumps({'method': method, 'case': kind, 'source': source, 'args': args,
                                'notes': '', 'arrays': described}))
    return path


def scores(shape, repeat=1, **arrays):
    """Both score vectors in ``shape``, and the expected arrays in it."""
    values = {key: np.reshape(np.repeat(value, repeat), shape) for key, value in SCORES.items()}
    return values | {key: np.reshape(np.repeat(value, repeat), shape) if key.startswith('grad')
                     else value for key, value in arrays.items()}


def kd_case(folder, **changes):
    arrays = scores((1, 2, 1, 1), out__loss=KL, grad__loss__student=SLOPE)
    return write_case(folder, 'kd_7', 'winycg/CIRKD:losses/kd.py', {'temperature': 1.},
                      {**arrays, **changes})


def mgd_case(folder, draw, kept, source='yzd-v/MGD:seg/mgd.py'):
    """Two channels of 1 x 2 pixels; the generator passes positive values through, so the loss
    is the sum of squares of what was kept, minus the teacher's zeros."""
    x = np.array([1., 2., 3., 4.]).reshape(1, 2, 1, 2)
    centre = np.zeros((2, 2, 3, 3))
    centre[[0, 1], [0, 1], 1, 1] = 1
    kept = np.array(kept, dtype=float).reshape(1, 2, 1, 2)
    arrays = {'in__student': x, 'in__teacher': 0 * x, 'rng__0_rand': draw,
              'out__loss': 0.5 * ((x * kept) ** 2).sum(), 'grad__loss__student': x * kept}
    for layer in (0, 2):
        arrays |= {f'param__m.generation.{layer}.weight': centre,
                   f'param__m.generation.{layer}.bias': np.zeros(2)}
    args = {'student_channels': 2, 'teacher_channels': 2, 'alpha_mgd': 0.5, 'lambda_mgd': 0.7}
    return write_case(folder, 'mgd_7', source, args, arrays)
