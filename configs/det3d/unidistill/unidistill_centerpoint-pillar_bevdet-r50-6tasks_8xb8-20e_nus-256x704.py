_base_ = [
    '../../_base_/students/bevdet-r50-6tasks_8xb8-20e_nus-256x704_points.py',
    '../../_base_/recipes/det3d/unidistill.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmdet3d::centerpoint/'
        'centerpoint_pillar02_second_secfpn_head-circlenms_8xb4-cyclic-20e_nus-3d.py',
        checkpoint='https://download.openmmlab.com/mmdetection3d/v1.0.0_models/centerpoint/'
        'centerpoint_02pillar_second_secfpn_circlenms_4x8_cyclic_20e_nus/'
        'centerpoint_02pillar_second_secfpn_circlenms_4x8_cyclic_20e_nus_'
        '20220811_031844-191a3822.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
