_base_ = [
    '../../_base_/students/deeplabv3-r18_8xb2-40k_cityscapes-512x1024_cirkd.py',
    '../../_base_/recipes/seg/cirkd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmseg::deeplabv3/deeplabv3_r101-d8_4xb2-40k_cityscapes-512x1024.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
        'deeplabv3/deeplabv3_r101-d8_512x1024_40k_cityscapes/'
        'deeplabv3_r101-d8_512x1024_40k_cityscapes_20200605_012241-7fd3f799.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
