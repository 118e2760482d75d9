# DeepLabV3-R18 on Cityscapes: mmseg's 40k schedule, crops of 512x512 (MGD's students).
_base_ = [
    '../models/deeplabv3_r18-d8.py',
    '../datasets/cityscapes_512x512.py',
    'mmseg::_base_/schedules/schedule_40k.py',
    'mmseg::_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(512, 512)))
