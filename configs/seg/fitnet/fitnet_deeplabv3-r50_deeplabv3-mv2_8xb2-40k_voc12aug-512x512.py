_base_ = [
    '../../_base_/students/deeplabv3-mv2_8xb2-40k_voc12aug-512x512_cirkd.py',
    '../../_base_/recipes/seg/fitnet.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmseg::deeplabv3/deeplabv3_r50-d8_4xb4-20k_voc12aug-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
        'deeplabv3/deeplabv3_r50-d8_512x512_20k_voc12aug/'
        'deeplabv3_r50-d8_512x512_20k_voc12aug_20200617_010906-596905ef.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
