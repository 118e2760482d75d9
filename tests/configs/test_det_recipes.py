"""Detection's recipes have the published numbers, and configs those of a family."""
import fnmatch
import os
import re

import pytest

from mmkd.apis import join_recipes, recipes
from mmkd.results.metafiles import zoo_indices_read_once

from .common import CONFIGS, LEAVES, read

# mmengine's reading of configs warns about pkg_resources.
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


@pytest.mark.parametrize('recipe, weights', [
    ('cwd', dict(classes=5.)),
    ('cwd_neck', dict(feature=10.)),
    ('mgd', dict(feature=1.)),
    ('fgd', dict(feature=1.)),
    ('pkd', dict(feature=10.)),
    ('dist', dict(classes=1.)),
    ('dist_mimic', dict(classes=1., feature=1.)),
    ('dist_two_stage_mimic', dict(classes=1., feature=1.)),
    ('defeat_two_stage', dict(feature=1., classes=1.)),
])
def test_recipe_weights_are_the_published(recipe, weights):
    terms = join_recipes(f'det/{recipe}')
    assert {name: term['weight'] for name, term in terms.items()} == weights


@pytest.mark.parametrize('recipe, term, numbers', [
    ('cwd', 'classes', dict(tau=1.)),
    ('mgd', 'feature', dict(alpha_mgd=2e-5)),
    ('mgd_two_stage', 'feature', dict(alpha_mgd=5e-7)),
    ('fgd', 'feature', dict(temp=0.5, alpha_fgd=1e-3, beta_fgd=5e-4, gamma_fgd=5e-4,
                            lambda_fgd=5e-6)),
    ('fgd_two_stage', 'feature', dict(temp=0.5, alpha_fgd=5e-5, beta_fgd=2.5e-5, gamma_fgd=5e-5,
                                      lambda_fgd=5e-7)),
    ('crosskd', 'predictions', dict(cls_weight=1., reg_weight=1.)),
    ('crosskd_gfl', 'predictions', dict(cls_weight=1., reg_weight=4.)),
    ('crosskd_atss', 'predictions', dict(cls_weight=1., reg_weight=1., centerness_weight=1.)),
    ('crosskd_fcos', 'predictions', dict(cls_weight=0.4, reg_weight=0.75)),
    ('ld_main', 'predictions', dict(vlr_weight=0., cls_weight=0.)),
    ('defeat', 'feature', dict(fg_weight=3., bg_weight=12.)),
    ('frs', 'feature', dict(feat_weight=0.005, cls_weight=0.02)),
    ('frs_two_stage', 'feature', dict(feat_weight=0.002, cls_weight=0.1)),
    ('pgd', 'classes', dict(alpha=0.04, temp=0.8, topk=30)),
    ('pgd', 'boxes', dict(gamma=0.064, temp=0.8, topk=30)),
    ('pgd_atss', 'classes', dict(alpha=0.08, temp=0.8, topk=9)),
    ('pgd_atss', 'boxes', dict(gamma=0.128, temp=0.8, topk=9)),
])
def test_factors_are_the_published(recipe, term, numbers):
    loss = join_recipes(f'det/{recipe}')[term]['loss']
    assert {key: loss[key] for key in numbers} == numbers


@pytest.mark.parametrize('leaf, term, numbers', [
    ('fgd/fgd_reppoints-*', 'feature', dict(temp=0.5, alpha_fgd=1.6e-3, lambda_fgd=8e-6)),
    ('fgd/fgd_fcos-*', 'feature', dict(temp=0.8, alpha_fgd=1.6e-3, lambda_fgd=8e-6)),
    ('fgd/fgd_yolox-*', 'feature', dict(temp=0.5, alpha_fgd=2e-3, lambda_fgd=1e-5)),
    ('fgd/fgd_cascade-*', 'feature', dict(alpha_fgd=5e-5)),
    ('mgd/mgd_cascade-*', 'feature', dict(alpha_mgd=5e-7)),
    ('pkd/pkd_*_retinanet-*', 'feature', dict(weight=10.)),
    ('pkd/pkd_mask-rcnn-swin-s_*', 'feature', dict(weight=6.)),
    ('pkd/pkd_faster-*', 'feature', dict(weight=6.)),
    ('crosskd/crosskd_gfl-*', 'predictions', dict(reg_weight=4.)),
    ('crosskd/crosskd_pkd_gfl-*', 'feature', dict(weight=6.)),
    ('crosskd/crosskd_pkd_retinanet-*', 'feature', dict(weight=2.)),
    ('crosskd/crosskd_pkd_fcos-*', 'feature', dict(weight=2.)),
    ('crosskd/crosskd_pkd_atss-*', 'feature', dict(weight=1.)),
    ('frs/frs_retinanet-*', 'feature', dict(feat_weight=0.005, cls_weight=0.02)),
    ('frs/frs_gfl-*', 'feature', dict(feat_weight=0.1, cls_weight=0.05)),
    ('frs/frs_fcos-*', 'feature', dict(feat_weight=0.01, cls_weight=0.05)),
    ('frs/frs_faster-*', 'feature', dict(feat_weight=0.002, cls_weight=0.1)),
    ('pgd/pgd_atss-*', 'classes', dict(alpha=0.08)),
])
def test_a_familys_own_weights_are_in_its_configs(leaf, term, numbers):
    paths = fnmatch.filter(LEAVES, f'det/{leaf}')
    if leaf.startswith('pkd/pkd_*'):
        paths = [path for path in paths if 'swin' not in path]
    assert paths
    for path in paths:
        cfg = read(path).model.distillations[term]
        assert {key: cfg[key] if key == 'weight' else cfg.loss[key] for key in numbers} == numbers


def test_every_recipe_of_a_method_is_told_on_its_page():
    for name, file in recipes('det').items():
        if os.path.basename(os.path.dirname(file)) == 'det':
            page = os.path.join(CONFIGS, 'det', name.partition('_')[0], 'README.md')
            with open(page, encoding='utf-8') as text:
                assert re.search(rf'\b{name}\b', text.read()), (name, page)
