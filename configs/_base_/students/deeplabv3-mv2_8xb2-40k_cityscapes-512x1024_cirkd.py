# DeepLabV3-MobileNetV2 on Cityscapes as CIRKD trains its students.
_base_ = [
    '../models/deeplabv3_mobilenet-v2-d8.py',
    '../datasets/cityscapes_512x1024_cirkd.py',
    '../schedules/cirkd_40k.py',
    'mmseg::_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(512, 1024)))
