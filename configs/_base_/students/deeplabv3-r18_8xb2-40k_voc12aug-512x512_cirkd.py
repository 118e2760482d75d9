# DeepLabV3-R18 on augmented VOC as CIRKD trains its students.
_base_ = [
    '../models/deeplabv3_r18-d8.py',
    '../datasets/voc12aug_512x512_cirkd.py',
    '../schedules/cirkd_40k.py',
    'mmseg::_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=21),
    auxiliary_head=dict(num_classes=21))
