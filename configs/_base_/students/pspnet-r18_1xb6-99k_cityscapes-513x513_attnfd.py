# PSPNet-R18 on Cityscapes as AttnFD trains its students.
# AttnFD's code divides the cross-entropy by the batch size a second time.
_base_ = [
    '../models/pspnet_r18-d8.py',
    '../datasets/cityscapes_513x513_attnfd.py',
    '../schedules/attnfd_200e_cityscapes.py',
    'mmseg::_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop}}),
    decode_head=dict(loss_decode=dict(loss_weight=1 / 6)),
    auxiliary_head=None)
