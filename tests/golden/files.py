"""Reading the two files of a reference case, and refusing what is broken."""
import json
import zipfile

import numpy as np

OUTPUTS = ('out__', 'mid__', 'ref__')
EXPECTED = (*OUTPUTS, 'grad__', 'gradp__', 'after__')
KINDS = ('in__', 'param__', 'rng__', *EXPECTED)


class CaseError(ValueError):
    """The case is broken, or it asks for what its adapter does not know."""


def read_json(path):
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CaseError(f'{path}: cannot be read as json: {error}') from error
    if not isinstance(info, dict):
        raise CaseError(f'{path}: expected a json object that describes a case')
    return info


def read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CaseError(f'{path}: cannot be read as npz: {error}') from error


def check_described(name, info, arrays):
    """Refuses a case whose npz file is not what the json says, in any layout."""
    described = info.get('arrays', {})
    if not isinstance(described, dict) or not all(isinstance(d, dict) for d in described.values()):
        raise CaseError(f'{name}: "arrays" of the json must describe each array by an object')
    for key, said in described.items():
        if key not in arrays:
            raise CaseError(f'{name}: the json names {key}, the npz does not hold it')
        if list(arrays[key].shape) != list(said.get('shape', arrays[key].shape)):
            raise CaseError(f'{name}: {key} has shape {list(arrays[key].shape)}, the json says '
                            f'{said["shape"]}')
        if str(arrays[key].dtype) != said.get('dtype', str(arrays[key].dtype)):
            raise CaseError(f'{name}: {key} is {arrays[key].dtype}, the json says {said["dtype"]}')


def check_prefixed(name, info, arrays):
    """Refuses what the prefixed layout does not know, and losses that the files disagree on.

    A loss that is not finite may be in the json alone: it is added to ``arrays``.
    """
    stray = [key for key in arrays if not key.startswith(KINDS)]
    if stray:
        raise CaseError(f'{name}: unknown kind of array: {", ".join(stray)}')
    if not any(key.startswith(EXPECTED) for key in arrays):
        raise CaseError(f'{name}: no recorded output, so there is nothing to compare with')
    for loss, value in info.get('losses', {}).items():
        stored = arrays.get('out__' + loss)
        said = np.array([v if isinstance(v, (int, float)) else np.nan for v in np.ravel(value)])
        known = np.isfinite(said)
        if stored is None and not known.any():
            arrays['out__' + loss] = said
            continue
        if stored is None or stored.size != said.size:
            raise CaseError(f'{name}: loss {loss} of the json is not in the npz')
        if not np.allclose(np.ravel(stored)[known], said[known], rtol=1e-6, atol=1e-12):
            raise CaseError(f'{name}: {loss} is {np.ravel(stored)} in the npz and {said} in the '
                            'json: one of the files was changed')
