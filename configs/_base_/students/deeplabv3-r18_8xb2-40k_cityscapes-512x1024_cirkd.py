# DeepLabV3-R18 on Cityscapes as CIRKD trains its students.
_base_ = [
    '../models/deeplabv3_r18-d8.py',
    '../datasets/cityscapes_512x1024_cirkd.py',
    '../schedules/cirkd_40k.py',
    'mmseg::_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(512, 1024)))
