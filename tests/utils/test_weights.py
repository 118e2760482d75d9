"""Layers whose layout has changed: what another version wrote is converted, and only that."""
import copy

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmkd.apis.fitting import fitting_weights
from mmkd.engine.continuing import check_start
from mmkd.models.teacher import fit_weights, read_weights
from mmkd.utils.weights import as_held_by, students_weights, weights_in


class Turned(nn.Linear):
    """A layer as mmdet3d's sparse convolutions: since version 2 it holds its weight transposed."""
    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys,
                              unexpected_keys, error_msgs):
        key = f'{prefix}weight'
        if local_metadata.get('version') != 2 and key in state_dict:
            state_dict = dict(state_dict, **{key: state_dict[key].T})
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys,
                                      unexpected_keys, error_msgs)


def network(size=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(Turned(3, size)))


def files(folder, size=5):
    """(the weights, paths of: today's file, an older one, one without versions, one of DDP)."""
    state = network(size).state_dict()
    old = copy.deepcopy(state)
    old['1.0.weight'] = old['1.0.weight'].T.contiguous()
    old._metadata['1.0'] = dict(version=1)
    ddp = copy.deepcopy(state)
    ddp._metadata = {f'module.{path}'.rstrip('.'): of for path, of in state._metadata.items()}
    kinds = dict(now=state, old=old, bare=dict(old), ddp=type(state)(
        (f'module.{key}', value) for key, value in state.items()))
    kinds['ddp']._metadata = ddp._metadata
    for kind, value in kinds.items():
        torch.save(dict(state_dict=value, meta={}), folder / f'{kind}.pth')
    return state, {kind: str(folder / f'{kind}.pth') for kind in kinds}


@pytest.mark.parametrize('kind', ('now', 'old', 'bare', 'ddp'))
@pytest.mark.parametrize('size', (5, 3))  # 3: of another layout, but of the same shape
def test_every_reader_of_a_file_gets_the_layers_layout(tmp_path, kind, size):
    state, paths = files(tmp_path, size)
    model = network(size)
    for value in model.state_dict().values():
        value.zero_()
    fit_weights(model, read_weights(paths[kind], 'teacher'), paths[kind], 'teacher')
    found, loaded = fitting_weights(network(size), paths[kind], Config(dict(model={})))
    check_start(network(size), loaded, paths[kind], resume=True)
    again = network(size)
    again.load_state_dict(found)
    torch.save(found, tmp_path / 'again.pth')
    saved = network(size)
    saved.load_state_dict(torch.load(tmp_path / 'again.pth'))
    for one in (model.state_dict(), found, again.state_dict(), saved.state_dict()):
        assert all(torch.equal(one[key], value) for key, value in state.items())


def test_what_does_not_fit_is_told_in_the_files_shapes(tmp_path):
    _, paths = files(tmp_path)
    with pytest.raises(ValueError, match=r'\(3, 5\) in the file, \(7, 3\) in the model'):
        fit_weights(network(7), read_weights(paths['old'], 'teacher'), paths['old'], 'teacher')


def test_neither_model_nor_file_changes(tmp_path):
    _, paths = files(tmp_path)
    loaded = torch.load(paths['old'])
    before, model = copy.deepcopy(loaded['state_dict']), network()
    own = copy.deepcopy(model.state_dict())
    as_held_by(model, weights_in(loaded, 'old'))
    assert all(torch.equal(loaded['state_dict'][key], before[key]) for key in before)
    assert all(torch.equal(model.state_dict()[key], own[key]) for key in own)


def test_the_versions_stay_beside_a_students_weights():
    state = network().state_dict()
    state['distiller.x'] = torch.zeros(1)
    found = students_weights(dict(state_dict=state), 'x')
    assert list(found) == list(network().state_dict())
    assert found._metadata['1.0'] == dict(version=2)
