"""The zoo of mmdet3d: models are made coarse, checked whole, and left out where spconv is not."""
import json

import pytest
from mmengine.registry import DefaultScope

from tests.detectors3d import centerpoint, fcos3d, pointpillars

REPORT = dict(date='d', torch='t', command='c', configs=9, distinct=4, unread={})


@pytest.mark.parametrize('model, terms', [
    (centerpoint, ('bev', 'head')), (pointpillars, ('bev', 'head')), (fcos3d, ('image', 'head'))])
def test_one_detector_is_checked_whole(zoo, model, terms):
    found = zoo.check(model(), 'mmdet3d')
    assert {**found, 'size': None} == dict(stock='', size=None, **dict.fromkeys(terms, ''))
    assert found['size'] == ([256, 256] if model is fcos3d else [])


def test_a_detector_that_has_nothing_to_compare_is_told_so(zoo, monkeypatch):
    monkeypatch.setattr('mmkd.models.libraries.mmdet3d.tap_names', lambda model: {})
    found = zoo.check(pointpillars(), 'mmdet3d')
    assert found['stock'] == '' and 'nothing that these terms compare' in found['none']
    rows = {'a.py': dict(found, commit='1a')}
    assert zoo.worse_than({}, rows, ('bev',)) == ['a.py']
    assert 'works on points alone' in zoo.render(dict(REPORT, models=rows), 'mmdet3d')


def test_models_of_other_kinds_are_named(zoo):
    from _zoo_models import model_of
    model = model_of('pointnet2/pointnet2_ssg_2xb16-cosine-200e_scannet-seg-xyz-only.py', 'mmdet3d')
    assert 'of mmdet3d it knows detectors alone' in zoo.check(model, 'mmdet3d')['stock']


def test_reasons_are_counted(zoo):
    stocks = dict(a='ImportError: install MinkowskiEngine', b='RuntimeError: implementation for '
                  'device cpu not found', c='AssertionError: Torch not compiled with CUDA enabled',
                  d='ValueError: other')
    rows = {f'{name}.py': dict(stock=stock, commit='1a') for name, stock in stocks.items()}
    rows['e.py'] = dict(stock='', bev='', head='', needs=['spconv'], commit='1a')
    text = zoo.render(dict(REPORT, models=rows, packages=dict(spconv='2.3')), 'mmdet3d')
    assert '| bev term | 1 of 1 |' in text and '| image term | 0 of 0 |' in text
    assert '| mmcv or mmdet3d computes something on a GPU alone | 2 |' in text
    assert '| needs MinkowskiEngine | 1 |' in text and '| another, said below | 1 |' in text
    assert '1 of them are built of spconv 2.3' in text and 'e.py' not in text


def test_a_sample_leaves_out_what_is_built_of_a_package_that_is_not_here(
        zoo, monkeypatch, tmp_path, capsys):
    good = dict(stock='', bev='', head='')
    before = {'a.py': good, 'b.py': dict(good, needs=['spconv'])}
    (tmp_path / 'zoo_mmdet3d.json').write_text(json.dumps(dict(models=before)))
    monkeypatch.setattr(zoo, 'RESULTS', tmp_path)
    monkeypatch.setattr(zoo, 'results_of', lambda configs, *args: (
        (config, dict(good, seconds=1.)) for config in configs))
    for here, tried in (({}, ['a.py']), (dict(spconv='2.3'), ['a.py', 'b.py'])):
        monkeypatch.setattr(zoo, '_installed', lambda library, here=here: here)
        for args in (['--sample', '9'], ['--match', 'py']):
            rows, _ = zoo.some('mmdet3d', zoo.parse_args(args))
            assert sorted(rows) == tried
            said = '1 models are left out, for spconv is not installed here'
            assert (said in capsys.readouterr().out) == (not here)


def test_cells_are_merged_in_all_grids_or_in_none(zoo):
    from _zoo_shrink_3d import coarsen

    def model(cells, divisible):
        return dict(voxel_layer=dict(voxel_size=[0.2, 0.2, 8]), train=dict(
            grid_size=[cells, cells, 1], voxel_size=[0.2, 0.2, 8]), coder=dict(
                voxel_size=[0.2, 0.2]), scatter=dict(output_shape=(cells, divisible)),
            encoder=dict(sparse_shape=[41, 1600, 1408]),
            points=dict(num_points=(2048, 512, (256, 64)), num_point=100))
    coarse, odd = model(512, 512), model(512, 468)
    coarsen(coarse)
    coarsen(odd)
    assert coarse['voxel_layer']['voxel_size'] == coarse['train']['voxel_size'] == [0.8, 0.8, 8]
    assert coarse['coder']['voxel_size'] == [0.8, 0.8]
    assert coarse['train']['grid_size'] == [128, 128, 1]
    assert coarse['scatter']['output_shape'] == [128, 128]
    assert coarse['encoder']['sparse_shape'] == [41, 400, 352]
    assert coarse['points'] == dict(num_points=(128, 32, (16, 8)), num_point=8)
    assert dict(odd, points=0) == dict(model(512, 468), scatter=dict(output_shape=[512, 468]),
                                       points=0)


def test_numbers_and_scopes(zoo):
    """mmdet's own models, which mmdet3d's zoo holds, too, are built in mmdet's scope."""
    from _zoo_models import model_of
    assert model_of('nuimages/mask-rcnn_r50_fpn_1x_nuim.py', 'mmdet3d')['_scope_'] == 'mmdet'
    assert model_of('ssn/ssn_hv_secfpn_sbn-all_16xb2-2x_nus-3d.py', 'mmdet3d')[
        '_scope_'] == 'mmdet3d'


@pytest.mark.parametrize('config', (
    'votenet/votenet_8xb8_scannet-3d.py',
    'mvfcos3d/multiview-fcos3d_r101-dcn_8xb2_waymoD5-3d-3class.py'))
def test_a_random_batch_has_what_other_kinds_of_detectors_learn_from(zoo, config):
    """Points with masks and boxes of a depth camera, or several cameras with their own flips."""
    import _zoo_check
    from _zoo_models import model_of

    from mmkd.models.libraries import before_building
    before_building(dict(_scope_='mmdet3d'))
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model = _zoo_check._built(model_of(config, 'mmdet3d', ('narrow', 'coarsen')), 1)
        _, losses = _zoo_check._first_size_that_trains(model, ())
    assert losses['loss'] > 0
