_base_ = [
    'mmdet::yolox/yolox_m_8xb8-300e_coco.py',
    '../../_base_/recipes/det/fgd_yolox.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmdet::yolox/yolox_l_8xb8-300e_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/yolox/'
        'yolox_l_8x8_300e_coco/yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth'))
custom_hooks = _base_.custom_hooks + [dict(type='mmkd.ExactResumeHook')]
