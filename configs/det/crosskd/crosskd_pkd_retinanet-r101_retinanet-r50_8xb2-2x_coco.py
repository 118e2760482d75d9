_base_ = 'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py'

from mmkd.apis import join_recipes  # below _base_

model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations=join_recipes('crosskd', 'pkd_all_levels', feature=dict(weight=2.)),
    teacher=dict(
        config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/'
        'retinanet_r101_fpn_2x_coco/retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
