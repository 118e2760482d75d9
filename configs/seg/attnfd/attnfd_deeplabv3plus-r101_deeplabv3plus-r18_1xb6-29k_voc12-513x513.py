_base_ = [
    '../../_base_/students/deeplabv3plus-r18_1xb6-29k_voc12-513x513_attnfd.py',
    '../../_base_/recipes/seg/attnfd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb4-20k_voc12aug-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
        'deeplabv3plus/deeplabv3plus_r101-d8_512x512_20k_voc12aug/'
        'deeplabv3plus_r101-d8_512x512_20k_voc12aug_20200617_102345-c7ff3d56.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
