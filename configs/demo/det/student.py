# The detection demo's student: GFL on a narrow ResNet-18, with anchors for small pictures.
_base_ = ['../../_base_/models/gfl_r18_fpn-64.py', 'base.py']
model = dict(bbox_head=dict(num_classes=3, anchor_generator=dict(octave_base_scale=4)))
