_base_ = [
    '../../_base_/models/bevdet_r50.py', '../../_base_/datasets/nus-bev-256x704.py',
    '../../_base_/schedules/bevdet_24e.py', 'mmdet3d::_base_/default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
