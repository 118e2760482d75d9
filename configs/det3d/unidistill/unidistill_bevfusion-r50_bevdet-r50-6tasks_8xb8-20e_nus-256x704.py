_base_ = [
    '../../_base_/students/bevdet-r50-6tasks_8xb8-20e_nus-256x704_points.py',
    '../../_base_/recipes/det3d/unidistill_camera_fusion.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='{{ fileDirname }}/../../detectors/bevfusion/'
        'bevfusion_r50-pillar02_8xb8-20e_nus-256x704.py',
        checkpoint='work_dirs/bevfusion_r50-pillar02_8xb8-20e_nus-256x704/epoch_20.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
