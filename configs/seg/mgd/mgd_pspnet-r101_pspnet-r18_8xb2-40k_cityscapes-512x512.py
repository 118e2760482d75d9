_base_ = [
    '../../_base_/students/pspnet-r18_8xb2-40k_cityscapes-512x512.py',
    '../../_base_/recipes/seg/mgd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-512x1024.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
        'pspnet/pspnet_r101-d8_512x1024_40k_cityscapes/'
        'pspnet_r101-d8_512x1024_40k_cityscapes_20200604_232751-467e7cf4.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
