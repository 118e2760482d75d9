"""nuScenes' metrics in metafiles: mmdet3d's names for them, and its mAP is not Pascal VOC's."""
from mmkd.results.metafiles import _zoo_results
from mmkd.results.metrics import METRICS, metric_of

WEIGHTS = ('https://download.openmmlab.com/mmdetection3d/v1.0.0_models/centerpoint/'
           'centerpoint_02pillar_second_secfpn_circlenms_4x8_cyclic_20e_nus/'
           'centerpoint_02pillar_second_secfpn_circlenms_4x8_cyclic_20e_nus_'
           '20220811_031844-191a3822.pth')


def test_what_mmdet3d_says_of_its_weights():
    assert _zoo_results('mmdet3d', 'centerpoint', WEIGHTS) == {'nuScenes mAP': 48.7, 'NDS': 59.62}


def test_a_logged_value_is_in_percent():
    """NuScenesMetric logs fractions, publications have percent."""
    for name in ('nuScenes mAP', 'NDS'):
        assert METRICS[name].of(0.3642) == 36.4 and METRICS[name].text(36.4) == '36.4'
        assert metric_of(dict(Metrics={f'{name} (published)': 1.})) is METRICS[name]
