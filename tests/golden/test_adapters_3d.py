"""The adapters of the 3D operators against loops of numpy, and files that are broken."""
import json

import numpy as np
import pytest

from tests.golden.files import CaseError
from tests.golden.handmade_3d import bev_pool_v2_arrays, lss_arrays, slidr_arrays, write_bare
from tests.golden.replay import find_adapter, main, replay

PRECISIONS = pytest.mark.parametrize('dtype', [np.float32, np.float64])
GRID = {'xbound': [-6., 6., .75], 'ybound': [-4., 4., 1.], 'zbound': [-3., 3., 6.],
        'dbound': [1., 6., 1.]}
SLIDR = {'temperature': .5, 'superpixel_size': 4}


def assert_replays(path, dtype, rounding=1e-12):
    _, error, _, problems = replay(path)
    # one rounding, of a value that is divided by a hundredth of its terms
    assert not problems and error < (2e-5 if dtype == np.float32 else rounding)


def lss_case(folder, dtype=np.float32, drop=(), grid=GRID, **scene):
    arrays = {key: value for key, value in lss_arrays(grid, **scene).items() if key not in drop}
    return write_bare(folder, 'lss_viewtransform_7', {'grid_config': grid}, arrays, dtype)


def slidr_case(folder, dtype=np.float32, **scene):
    args = {'temperature': scene.get('temperature', .5),
            'superpixel_size': scene.get('per_image', 4)}
    return write_bare(folder, 'slidr_7', args, slidr_arrays(**scene), dtype)


@PRECISIONS
@pytest.mark.parametrize('scene', [
    {}, {'channels': 1}, {'ranks': ()},
    {'ranks': [(i, i // 8 * 4 + i % 4, 4) for i in range(16)]},
    {'ranks': (), 'shape': (0, 2, 2, 2, 2), 'bev': (0, 1, 2, 3)},
    {'ranks': [(7, 3, 11), (23, 7, 13)], 'shape': (2, 1, 3, 2, 2), 'bev': (2, 2, 2, 2)}],
    ids=['ordinary', 'one channel', 'no point', 'one cell', 'no sample', 'levels'])
def test_bev_pool_v2(tmp_path, dtype, scene):
    arrays = bev_pool_v2_arrays(**scene)
    assert_replays(write_bare(tmp_path, 'bev_pool_v2_7', {}, arrays, dtype), dtype)


def test_bev_pool_v2_with_its_intervals(tmp_path, capsys):
    arrays = bev_pool_v2_arrays() | {'interval_starts': np.array([0, 2]),
                                     'interval_lengths': np.array([2, 1])}
    assert_replays(write_bare(tmp_path, 'bev_pool_v2_7', {}, arrays), np.float32)
    arrays['interval_starts'] = np.array([0, 1])
    assert main([str(write_bare(tmp_path, 'bev_pool_v2_7', {}, arrays))]) == 1
    assert 'must be those of ranks_bev' in capsys.readouterr().err


@PRECISIONS
@pytest.mark.parametrize('scene, kept', [
    ({}, None), ({'batch': 1, 'cameras': 3, 'channels': 1, 'size': (2, 5)}, None),
    ({'batch': 0}, 0), ({'cameras': 1, 'grid': GRID | {'xbound': [50., 60., 1.]}}, 0),
    ({'grid': GRID | {axis + 'bound': [-50., 50., 100.] for axis in 'xyz'}}, 240),
    ({'grid': GRID | {'zbound': [-3., 3., 1.5]}}, None)],
    ids=['ordinary', 'other sizes', 'no sample', 'no point', 'one cell', 'levels'])
def test_lss_viewtransform(tmp_path, dtype, scene, kept):
    path = lss_case(tmp_path, dtype, **scene)
    ranks = np.load(path.with_suffix('.npz'))['ranks_bev']
    assert len(ranks) == kept if kept is not None else 0 < len(ranks) < 240
    assert_replays(path, dtype)


def test_lss_viewtransform_of_the_pooled_map_alone(tmp_path):
    """What an official run leaves where no point is kept: no ranks; and no geometry."""
    drop = ('geometry', 'bev_v2_reference', 'ranks_bev', 'ranks_depth', 'ranks_feat',
            'interval_starts', 'interval_lengths')
    assert_replays(lss_case(tmp_path, np.float64, drop), np.float64)
    with pytest.raises(CaseError, match='only some are recorded'):
        replay(lss_case(tmp_path, drop=('ranks_depth',)))


@PRECISIONS
@pytest.mark.parametrize('scene', [
    {}, {'pairs': ((3, 1, 0, 0),)}, {'per_image': 1}, {'images': 1, 'pairs': ((0, 0, 2, 3),)},
    {'per_image': 9, 'channels': 7, 'size': (5, 6)}],
    ids=['ordinary', 'one pair', 'one superpixel', 'one image', 'other sizes'])
def test_slidr(tmp_path, dtype, scene):
    assert_replays(slidr_case(tmp_path, dtype, **scene), dtype)


def test_slidr_of_sides_that_agree(tmp_path):
    """Nothing is left of logits of about 20 in the loss and in the gradients."""
    path = slidr_case(tmp_path, temperature=.05, channels=8, noise=.02,
                      pairs=((0, 0, 1, 1), (1, 0, 0, 3), (2, 1, 2, 2), (3, 1, 1, 0)))
    assert np.load(path.with_suffix('.npz'))['loss'] < 1e-7
    assert_replays(path, np.float32)


@pytest.mark.parametrize('scene', [{}, {'images': 0}, {'points': 0}])
def test_slidr_without_pairs_is_zero(tmp_path, scene):
    """The official mean over no superpixel is NaN."""
    _, error, not_finite, problems = replay(slidr_case(tmp_path, pairs=(), **scene))
    assert (error, not_finite, problems) == (0, 1, [])


CASES = {'bev_pool_v2': (bev_pool_v2_arrays, {}), 'slidr': (slidr_arrays, SLIDR),
         'lss_viewtransform': (lambda: lss_arrays(GRID), {'grid_config': GRID})}


@pytest.mark.parametrize('family, name', [
    (family, name) for family, (arrays, _) in CASES.items() for name, value in arrays().items()
    if name.startswith(('loss', 'grad', 'bev', 'ranks', 'interval', 'geometry'))
    and (family != 'bev_pool_v2' or value.dtype.kind == 'f')])
def test_a_wrong_value_fails(tmp_path, capsys, family, name):
    """One number of one recorded array, by 1e-3 of the largest or by 1."""
    arrays, args = CASES[family]
    arrays = {key: np.array(value) for key, value in arrays().items()}
    largest = int(np.abs(arrays[name]).argmax())
    changed = arrays[name].reshape(-1)
    changed[largest] += 1 if changed.dtype.kind == 'i' else 1e-3 * changed[largest]
    assert main([str(write_bare(tmp_path, f'{family}_7', args, arrays))]) == 1
    assert f'{family}_7: {prefixed(family, name)}: ' in capsys.readouterr().err


def prefixed(family, name):
    loss = 'loss_sum' if family == 'bev_pool_v2' else 'loss'
    return f'grad__{loss}__{name[5:]}' if name.startswith('grad_') else f'out__{name}'


def broken(folder, what):
    arrays, args = slidr_arrays(), dict(SLIDR)
    if what == 'size':
        args.pop('superpixel_size')
    elif what == 'argument':
        args['warmth'] = 1.
    elif what == 'args':
        args = [1]
    elif what == 'missing':
        arrays.pop('pairing_points')
    elif what == 'unknown':
        arrays['oops'] = np.zeros(2)
    elif what == 'shape':
        arrays['pairing_points'] = arrays['pairing_points'][:-1]
    elif what == 'dimensions':
        arrays['grad_image_feat'] = arrays['grad_image_feat'][0]
    elif what == 'kind':
        arrays['superpixels'] = arrays['superpixels'] + .5
    elif what == 'range':
        arrays['pairing_points'][0] = 5
    elif what == 'superpixel':
        arrays['superpixels'][0] = 4
    path = write_bare(folder, 'slidr_7', args, arrays)
    info = json.loads(path.read_text())
    if what == 'not in npz':
        info['arrays']['extra'] = {'shape': []}
    elif what == 'not in json':
        info['arrays'].pop('loss')
    elif what == 'nothing in json':
        info.pop('arrays')
    elif what == 'shape in json':
        info['arrays']['loss']['shape'] = [2]
    elif what == 'dtype in json':
        info['arrays']['loss']['dtype'] = 'float64'
    elif what == 'description':
        info['arrays']['loss'] = 'a number'
    path.write_text(json.dumps(info))
    return path


@pytest.mark.parametrize('what, message', [
    ('size', 'the argument superpixel_size is missing'),
    ('argument', 'does not know the official argument(s) warmth'),
    ('args', 'the arguments must be a json object'), ('missing', 'pairing_points is missing'),
    ('unknown', 'does not know the recorded array(s) oops'),
    ('shape', 'pairing_images has shape [5, 3], expected (M, 3) with P=5'),
    ('dimensions', 'grad_image_feat has shape [3, 3, 4], expected (I, C, H, W)'),
    ('kind', 'superpixels is float32, expected an array of int'),
    ('range', 'pairing_points must lie in [0, 5)'),
    ('superpixel', 'superpixels must lie in [0, 4)'),
    ('not in npz', 'the json names extra, the npz does not hold it'),
    ('not in json', 'the json does not describe loss'),
    ('nothing in json', 'the json does not describe grad_image_feat, '),
    ('shape in json', 'the json says [2]'), ('dtype in json', 'the json says float64'),
    ('description', 'must describe each array by an object')])
def test_a_broken_case_fails(tmp_path, capsys, what, message):
    path = broken(tmp_path, what)
    with pytest.raises(CaseError):
        replay(path)
    assert main([str(path)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('changes, message', [
    ({'grid_config': {'xbound': [0, 1, .5]}}, 'grid_config must hold xbound, ybound and zbound'),
    ({}, 'grid_config must hold'),
    ({'grid_config': GRID | {'dbound': [1., 9., 1.]}}, '5 depth bins are not those of dbound'),
    ({'grid_config': GRID, 'input_size': [64, 64]}, 'a frustum of 3 x 4 is not that of')])
def test_lss_viewtransform_refuses_other_arguments(tmp_path, changes, message):
    with pytest.raises(CaseError, match=message):
        replay(write_bare(tmp_path, 'lss_viewtransform_7', changes, lss_arrays(GRID)))


@pytest.mark.parametrize('name, family', [
    ('slidr_no_pairs_2', 'slidr'), ('slidr_2', 'slidr'), ('bev_pool_v2_unittest', 'bev_pool_v2'),
    ('lss_viewtransform_one_cell_12', 'lss_viewtransform')])
def test_a_kind_may_have_several_words_and_a_number(name, family):
    assert find_adapter(name, kind=True) == (name, family)


@pytest.mark.parametrize('name', ['slidr2_1', 'bev_pool_1', 'pointdistillerx_plain'])
def test_a_family_that_only_begins_alike_has_no_adapter(name):
    with pytest.raises(CaseError, match='no adapter'):
        find_adapter(name, kind=True)
