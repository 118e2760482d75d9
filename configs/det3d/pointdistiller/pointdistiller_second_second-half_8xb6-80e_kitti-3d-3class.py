_base_ = [
    '../../_base_/students/second-half_8xb6-80e_kitti-3d-3class.py',
    '../../_base_/recipes/det3d/pointdistiller_second.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py',
        checkpoint='https://download.openmmlab.com/mmdetection3d/v1.1.0_models/second/'
        'second_hv_secfpn_8xb6-80e_kitti-3d-3class/'
        'second_hv_secfpn_8xb6-80e_kitti-3d-3class-b086d0a3.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
