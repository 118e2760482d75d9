# BEVDet-R50 with the six tasks of CenterPoint's head, on UniDistill's schedule; its pipeline loads
# what a LiDAR teacher reads, too.
_base_ = ['bevdet-r50_8xb8-24e_nus-256x704_points.py']
model = dict(
    pts_bbox_head=dict(
        tasks=[
            dict(num_class=1, class_names=['car']),
            dict(num_class=2, class_names=['truck', 'construction_vehicle']),
            dict(num_class=2, class_names=['bus', 'trailer']),
            dict(num_class=1, class_names=['barrier']),
            dict(num_class=2, class_names=['motorcycle', 'bicycle']),
            dict(num_class=2, class_names=['pedestrian', 'traffic_cone'])
        ]),
    test_cfg=dict(pts=dict(min_radius=[4, 12, 10, 1, 0.85, 0.175], post_max_size=83)))
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-7))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
    dict(type='MultiStepLR', begin=0, end=20, by_epoch=True, milestones=[10, 15], gamma=0.1)
]
train_cfg = dict(max_epochs=20, val_interval=20)
