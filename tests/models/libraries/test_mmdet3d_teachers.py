"""LiDAR teachers as users name them, and the checkpoints that they do not fit."""
import logging

import pytest
import torch
from mmengine.registry import DefaultScope

from mmkd.models.teacher import Teacher
from tests.detectors3d import bev_batch, centerpoint, pointpillars
from tests.helpers import build
from tests.models.bev.rigs import RANGE, SIZE, tiny_model

ZOO = dict(
    centerpoint='mmdet3d::centerpoint/centerpoint_pillar02_second_secfpn_head-circlenms_8xb4-'
                'cyclic-20e_nus-3d.py',
    pointpillars='mmdet3d::pointpillars/pointpillars_hv_secfpn_sbn-all_8xb4-2x_nus-3d.py')


@pytest.mark.slow
@pytest.mark.parametrize('name', ZOO)
def test_a_teacher_of_the_zoo_by_its_name_teaches_cameras(name):
    """Full size, its own grid and range: a step puts a gradient on the student."""
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model = build(dict(
            type='mmkd.OfflineDistiller', student=tiny_model(),
            teacher=dict(config=ZOO[name], allow_random=True),
            distillations=dict(feature=dict(
                tap='bev', student_connector=dict(type='mmkd.ConvConnector'),
                loss=dict(type='mmkd.FSDBEVLoss', eps=0.01)))))
    features = 4 if name == 'pointpillars' else 5
    data = bev_batch(1, features=features, area=RANGE, images=(6, *SIZE))
    losses = model(**model.train().data_preprocessor(data, True), mode='loss')
    losses['loss_feature'].backward()
    gradient = model.img_view_transformer.depth_net.weight.grad
    assert gradient.isfinite().all() and gradient.any()


# ---- checkpoints that do not fit -----------------------------------------------------------------
TASKS = (('car', 'truck'), ('pedestrian',), ('bus',))
NETWORKS = dict(centerpoint=centerpoint, pointpillars=pointpillars)


def deeper(network):
    cfg = network()
    cfg.get('pts_backbone', cfg.get('backbone')).layer_nums = [1, 2]
    return build(cfg).state_dict()


def without(part):
    def change(network):
        return {key: value for key, value in build(network()).state_dict().items()
                if part not in key}
    return change


def loaded(network, state, folder):
    torch.save(dict(state_dict=state), folder / 'teacher.pth')
    return Teacher('teacher', dict(model=network(), default_scope='mmdet3d'),
                   str(folder / 'teacher.pth'))


@pytest.mark.parametrize('network, change, told', [
    *[(name, without(part), part) for name in NETWORKS
      for part in ('neck.deblocks.1', 'voxel_encoder', 'bbox_head')],
    *[(name, deeper, 'backbone.blocks.1.6.weight') for name in NETWORKS],
    ('centerpoint', lambda _: build(centerpoint(tasks=TASKS)).state_dict(),
     'pts_bbox_head.task_heads.2.reg.0.conv.weight')],
    ids=lambda value: value if isinstance(value, str) else '')
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(tmp_path, network, change, told):
    with pytest.raises(ValueError, match=r'does not fit') as error:
        loaded(NETWORKS[network], change(NETWORKS[network]), tmp_path)
    assert told in str(error.value) and str(tmp_path / 'teacher.pth') in str(error.value)


def test_a_branch_that_the_teacher_lacks_is_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmkd.models.teacher.print_log', lambda text, level=None, **where:
                        said.append((level, text)))
    state = build(centerpoint()).state_dict()
    teacher = loaded(centerpoint, {**state, 'img_backbone.conv1.weight': torch.zeros(1)}, tmp_path)
    (level, text), = said
    assert level == logging.WARNING and 'img_backbone.conv1.weight' in text
    assert all(torch.equal(value, state[key])
               for key, value in teacher.model.state_dict().items())
    said.clear()
    loaded(centerpoint, state, tmp_path)
    assert not said
