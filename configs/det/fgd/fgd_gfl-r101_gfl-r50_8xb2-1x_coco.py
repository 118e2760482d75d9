_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../../_base_/recipes/det/fgd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    init_student=True,
    teacher=dict(
        config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
        'gfl_r101_fpn_mstrain_2x_coco/gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth'))
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
