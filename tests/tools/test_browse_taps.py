"""browse_taps.py on detectors: pyramids with their levels, rows of RoIs, two networks."""
import re

import pytest
from mmengine.config import Config

from tests.detectors import det_distiller, small_detector


def line(out, *parts):
    """Whether a line has these parts in order, with spaces between."""
    return re.search('^ *' + ' +'.join(map(re.escape, parts)) + ' *$', out, re.MULTILINE)


@pytest.fixture
def browse(here, tmp_path):
    def run(model, *args):
        path = tmp_path / 'config.py'
        Config(dict(model=model, default_scope='mmdet')).dump(str(path))
        return here.run('browse_taps.py', path, '--match', 'neck$', *args, cwd=tmp_path)[0]
    return run


def test_a_pyramid_is_shown_with_its_levels(browse):
    out = browse(small_detector('retinanet'))
    assert line(out, 'neck', 'pyramid of 5', "= 'neck[:]'")
    assert line(out, 'cls', 'pyramid of 5', "= 'bbox_head.retina_cls[:]'")
    levels = re.findall(r'^    \[(\d)\] +(\d+) x (\d+) x \d+ +stride (\d+)$', out, re.MULTILINE)
    neck = [level for level in levels if level[1] == '16'][-5:]
    assert [int(stride) for *_, stride in neck] == [8, 16, 32, 64, 128]
    assert all(int(width) * int(stride) == 256 for _, _, width, stride in levels)
    assert '(not here: centerness, ' in out


def test_rows_of_rois_and_queries_have_no_stride(browse):
    out = browse(small_detector('faster'))
    assert line(out, 'roi', '16 x 7 x 7', "= 'roi_head.bbox_roi_extractor'")
    assert line(out, 'roi_cls', '4', "= 'roi_head.bbox_head.fc_cls'")
    out = browse(small_detector('detr'), '--training')
    assert line(out, 'decoder', '256 x 100 x 1', "= 'last_queries(decoder)'")


def test_levels_of_student_and_teacher_stand_side_by_side(browse):
    terms = dict(neck=dict(tap='neck', loss=dict(type='mmkd.PKDLoss'), levels='common'))
    out = browse(det_distiller(terms, 'faster', small_detector('retinanet', width=24)))
    assert line(out, 'neck', 'pyramid of 5', 'pyramid of 5')
    assert line(out, 'level', '16 x 64 x 64', 'stride 4', '-',
                "no partner: levels='common' leaves it out")
    for stride in (8, 16, 32, 64):
        size = f'x {256 // stride} x {256 // stride}'
        assert line(out, 'level', f'16 {size}', f'stride {stride}', f'24 {size}',
                    f'stride {stride}', 'a connector for most losses')
    assert line(out, 'level', '-', '24 x 2 x 2', 'stride 128',
                "no partner: levels='common' leaves it out")
    assert line(out, 'roi', '16 x 7 x 7', '-', 'not in the teacher')
    assert line(out, 'level', '16 x 32 x 32', 'stride 8', '16 x 32 x 32', 'stride 8',
                'no connector needed')  # of the backbones, which are equal
