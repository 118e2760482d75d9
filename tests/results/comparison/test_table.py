"""A comparison's table: which metrics it has, and what they are called."""
import pytest

from mmkd.results.comparison.metric import beside, choose
from mmkd.results.comparison.table import comparison_page, joint_table, short

from .common import make_results

OF_ALL = 'NuScenes metric/pred_instances_3d_NuScenes/'
NUSCENES = {f'{OF_ALL}car_AP_dist_0.5': .1, f'{OF_ALL}mATE': .5, f'{OF_ALL}NDS': .3,
            f'{OF_ALL}mAP': .25}


def test_nuscenes_tables_have_nds_and_map():
    """mmdet3d's keys, among those of every class and distance."""
    assert choose(NUSCENES) == f'{OF_ALL}NDS'
    assert beside(NUSCENES, f'{OF_ALL}NDS') == [f'{OF_ALL}mAP']
    assert choose(NUSCENES, 'mAP') == f'{OF_ALL}mAP'
    assert beside(NUSCENES, f'{OF_ALL}mAP') == [f'{OF_ALL}NDS']
    with pytest.raises(ValueError, match='mATE'):
        choose(NUSCENES, 'mate')


@pytest.mark.parametrize('metrics', [dict(aAcc=1., mIoU=2.), {'coco/bbox_mAP': .3, 'x': 1.}])
def test_others_have_one_metric(metrics):
    assert beside(metrics, choose(metrics)) == []


@pytest.mark.parametrize(('name', 'shown'), [
    (f'{OF_ALL}NDS', 'NDS'), ('coco/bbox_mAP', 'coco/bbox_mAP'), ('mIoU', 'mIoU')])
def test_names_in_tables(name, shown):
    assert short(name) == shown


def test_the_metrics_beside_have_columns_of_their_own():
    nds, precision = f'{OF_ALL}NDS', f'{OF_ALL}mAP'
    results = make_results(nds, beside=[precision])
    for row in results['rows']:
        for i, run in enumerate(row['runs']):
            run['metrics']['test'] = {nds: .2 + i / 10, precision: .1 * (i + 1)}
    results['rows'][2]['runs'][1]['metrics'] = {}  # has not ended
    page = comparison_page(results).splitlines()
    assert page[0].startswith('| model | NDS, mean ± std | each seed | gain (95 % interval) | mAP, '
                              'mean ± std | parameters |')
    assert page[3].startswith('| student alone | 0.3000 ± 0.1000 | 0.2000, 0.3000, 0.4000 |  | '
                              '0.2000 ± 0.1000 |')
    assert '| 0.2000 ± 0.1414 |' in page[4]
    assert 'NDS on the test split' in page[-1]
    assert joint_table(dict(one=results)).startswith('| model | NDS, one |')


def test_results_of_before_have_no_metric_beside():
    """Recorded comparisons stay as they are."""
    assert comparison_page(make_results()).startswith(
        '| model | mIoU, mean ± std | each seed | gain (95 % interval) | parameters |')
