# PSPNet-R18 on VOC as AttnFD trains its students.
# AttnFD's code divides the cross-entropy by the batch size a second time.
_base_ = [
    '../models/pspnet_r18-d8.py',
    '../datasets/voc12_513x513_attnfd.py',
    '../schedules/attnfd_120e_voc12.py',
    'mmseg::_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop}}),
    decode_head=dict(num_classes=21, loss_decode=dict(loss_weight=1 / 6)),
    auxiliary_head=None)
