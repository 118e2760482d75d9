# The demo's student, taught by its teacher with CWD on the logits.
_base_ = ['student.py', '../_base_/recipes/seg/cwd.py']
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='{{ fileDirname }}/teacher.py',
        checkpoint='work_dirs/demo/teacher/iter_1000.pth'))
