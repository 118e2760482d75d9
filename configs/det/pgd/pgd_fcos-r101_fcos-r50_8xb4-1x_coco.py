_base_ = [
    '../../_base_/students/fcos-r50_8xb4-1x_coco_pgd.py',
    '../../_base_/recipes/det/pgd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    init_student=True,
    teacher=dict(
        config='mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/fcos/'
        'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
        'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
