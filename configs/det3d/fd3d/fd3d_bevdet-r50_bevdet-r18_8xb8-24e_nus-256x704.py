_base_ = [
    '../../detectors/bevdet/bevdet_r18_8xb8-24e_nus-256x704.py',
    '../../_base_/recipes/det3d/fd3d.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='{{ fileDirname }}/../../detectors/bevdet/bevdet_r50_8xb8-24e_nus-256x704.py',
        checkpoint='work_dirs/bevdet_r50_8xb8-24e_nus-256x704/epoch_24.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
