_base_ = [
    '../../_base_/students/pspnet-r18_4xb4-40k_voc12aug-512x512.py',
    '../../_base_/recipes/seg/mgd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmseg::pspnet/pspnet_r101-d8_4xb4-40k_voc12aug-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
        'pspnet/pspnet_r101-d8_512x512_40k_voc12aug/'
        'pspnet_r101-d8_512x512_40k_voc12aug_20200613_161222-bc933b18.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
