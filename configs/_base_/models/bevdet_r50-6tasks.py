# BEVDet on a ResNet-50 with the six tasks of mmdet3d's CenterPoint, so that their heads can be
# compared.
_base_ = ['bevdet_r50.py']
model = dict(
    pts_bbox_head=dict(
        tasks=[
            dict(num_class=1, class_names=['car']),
            dict(num_class=2, class_names=['truck', 'construction_vehicle']),
            dict(num_class=2, class_names=['bus', 'trailer']),
            dict(num_class=1, class_names=['barrier']),
            dict(num_class=2, class_names=['motorcycle', 'bicycle']),
            dict(num_class=2, class_names=['pedestrian', 'traffic_cone']),
        ]),
    test_cfg=dict(pts=dict(min_radius=[4, 12, 10, 1, 0.85, 0.175], post_max_size=83)))
