_base_ = [
    '../../_base_/students/pointpillars-half_8xb6-160e_kitti-3d-3class.py',
    '../../_base_/recipes/det3d/pointdistiller.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py',
        checkpoint='https://download.openmmlab.com/mmdetection3d/v1.0.0_models/pointpillars/'
        'hv_pointpillars_secfpn_6x8_160e_kitti-3d-3class/'
        'hv_pointpillars_secfpn_6x8_160e_kitti-3d-3class_20220301_150306-37dc2420.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
