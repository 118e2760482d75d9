_base_ = [
    '../../_base_/students/pspnet-r18_1xb6-99k_cityscapes-513x513_attnfd.py',
    '../../_base_/recipes/seg/attnfd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmseg::deeplabv3plus/deeplabv3plus_r101-d16-mg124_4xb2-40k_cityscapes-512x1024.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
        'deeplabv3plus/deeplabv3plus_r101-d16-mg124_512x1024_40k_cityscapes/'
        'deeplabv3plus_r101-d16-mg124_512x1024_40k_cityscapes_20200908_005644-cf9ce186.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
