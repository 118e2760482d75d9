_base_ = [
    '../../_base_/students/centerpoint-pillar02_8xb8-20e_nus-256x704_images.py',
    '../../_base_/recipes/det3d/unidistill_lidar_camera.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='{{ fileDirname }}/../../_base_/students/'
        'bevdet-r50-6tasks_8xb8-20e_nus-256x704_points.py',
        checkpoint='work_dirs/bevdet-r50-6tasks_8xb8-20e_nus-256x704_points/epoch_20.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
