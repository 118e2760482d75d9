# BEVDet-R50 with six tasks on UniDistill's schedule. Its pipeline loads what a LiDAR teacher
# reads, too.
_base_ = [
    '../models/bevdet_r50-6tasks.py', '../datasets/nus-bev-256x704_points.py',
    '../schedules/unidistill_20e.py', 'mmdet3d::_base_/default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
