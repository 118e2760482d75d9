_base_ = [
    'mmdet::solo/solo_r50_fpn_1x_coco.py',
    '../../_base_/recipes/det/mgd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    init_student=True,
    teacher=dict(
        config='{{ fileDirname }}/../../_base_/teachers/solo-r101_8xb2-3x_coco.py',
        checkpoint='work_dirs/solo-r101_8xb2-3x_coco/epoch_36.pth'))
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
