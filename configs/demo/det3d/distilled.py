# The 3D demo's student, taught by its LiDAR teacher with DistillBEV.
_base_ = ['student.py', '../../_base_/recipes/det3d/distillbev.py']
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='{{ fileDirname }}/teacher.py',
        checkpoint='work_dirs/demo_det3d/teacher/iter_900.pth'))
