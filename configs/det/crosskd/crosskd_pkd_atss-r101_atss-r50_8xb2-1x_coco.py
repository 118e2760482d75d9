_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'

from mmkd.apis import join_recipes  # below _base_

model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations=join_recipes('crosskd_atss', 'pkd_all_levels', feature=dict(weight=1.)),
    teacher=dict(
        config='mmdet::atss/atss_r101_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/atss/'
        'atss_r101_fpn_1x_coco/atss_r101_fpn_1x_20200825-dfcadd6f.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
