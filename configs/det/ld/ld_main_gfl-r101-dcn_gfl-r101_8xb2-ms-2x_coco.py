_base_ = [
    'mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
    '../../_base_/recipes/det/ld_main.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmdet::gfl/gfl_r101-dconv-c3-c5_fpn_ms-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
        'gfl_r101_fpn_dconv_c3-c5_mstrain_2x_coco/'
        'gfl_r101_fpn_dconv_c3-c5_mstrain_2x_coco_20200630_102002-134b07df.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
