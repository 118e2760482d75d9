_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'

from mmkd.apis import join_recipes  # below _base_

model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations=join_recipes('frs', feature=dict(loss=dict(
        feat_weight=0.1, cls_weight=0.05))),
    teacher=dict(
        config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
        'gfl_r101_fpn_mstrain_2x_coco/gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
