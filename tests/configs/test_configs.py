"""Every config that mmkd ships is known, short, complete and used.

What the configs of a task must be like, and that they train: test_seg_configs.py and
test_det_configs.py.
"""
import os
import re
from collections import Counter

import pytest
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from mmkd.apis.classes import heads
from mmkd.results.metafiles import read_metafiles, zoo_indices_read_once

from .common import (
    ALL,
    COMPARISONS,
    CONFIGS,
    DEMO,
    DEPLOY,
    DETECTORS,
    FRAGMENTS,
    LEAVES,
    STUDENTS,
    TEACHERS,
    read,
)

ROWS = [model['Config'] for meta in read_metafiles(CONFIGS).values() for model in meta['Models']]

# mmengine's reading of configs warns about pkg_resources.
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


def test_no_config_is_left_out():
    known = Counter(FRAGMENTS + STUDENTS + TEACHERS + DETECTORS + LEAVES + DEMO + DEPLOY
                    + COMPARISONS)
    assert sorted(known) == ALL
    assert set(known.values()) == {1}
    assert sorted(ROWS) == sorted(f'configs/{path}' for path in LEAVES)
    assert len(ROWS) >= 24 + 50


@pytest.mark.parametrize('path', [path for path in COMPARISONS if os.path.basename(path)
                                  == 'student.py' or f'{os.sep}recipes{os.sep}' in path])
def test_what_a_comparison_names_is_whole(path):
    cfg = read(path)
    if os.path.basename(path) == 'student.py':
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            ROOT_MODELS.build(cfg.model)
        assert set(heads(cfg.model).values()) == {
            len(cfg.train_dataloader.dataset.metainfo.classes)}
    else:
        assert all(term['loss']['type'] and term['weight'] for term in
                   cfg.distillations.values())


def test_every_student_and_teacher_base_is_used():
    used = ''.join(open(os.path.join(CONFIGS, path), encoding='utf-8').read() for path in LEAVES)
    assert [path for path in STUDENTS + TEACHERS if path not in used] == []


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_is_short_and_holds_no_detail(path):
    with open(os.path.join(CONFIGS, path), encoding='utf-8') as file:
        text = file.read()
    assert len(text.splitlines()) <= 20
    assert not re.search(
        r'channels|tap\b|backbone|decode_head|auxiliary_head|bbox_head|layer\d', text)
