# BEVDet-R50 whose train pipeline loads what a LiDAR teacher reads, too. The student reads images
# alone, in training as in testing.
_base_ = [
    '../models/bevdet_r50.py', '../datasets/nus-bev-256x704_points.py',
    '../schedules/bevdet_24e.py', 'mmdet3d::_base_/default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
