_base_ = [
    'mmdet::atss/atss_r50_fpn_1x_coco.py',
    '../../_base_/recipes/det/pgd_atss.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    init_student=True,
    teacher=dict(
        config='mmdet::atss/atss_r101_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/atss/'
        'atss_r101_fpn_1x_coco/atss_r101_fpn_1x_20200825-dfcadd6f.pth'))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    optimizer=dict(lr=0.02), clip_grad=dict(max_norm=35, norm_type=2))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
