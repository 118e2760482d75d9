_base_ = [
    '../../_base_/students/faster-rcnn-r50_2xb8-1x_voc0712_defeat.py',
    '../../_base_/recipes/det/fgfi.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='{{ fileDirname }}/../../_base_/teachers/faster-rcnn-r101_2xb8-1x_voc0712.py',
        checkpoint='work_dirs/faster-rcnn-r101_2xb8-1x_voc0712/epoch_4.pth'))
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
