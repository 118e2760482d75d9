# TiG-BEV (Huang et al., 2022): how alike keypoints (100) and channels (10) are within objects, and
# the depth within objects (1), which the LiDAR's points teach.
distillations = dict(
    geometry=dict(
        tap='bev',
        loss=dict(
            type='mmkd.TiGBEVLoss',
            num_samples=24,
            enlarge_width=1.6,
            inter_keypoint_weight=100.,
            inter_channel_weight=10.),
        weight=1.),
    inner_depth=dict(
        student_tap='depth',
        teacher_tap='bev',
        loss=dict(type='mmkd.TiGBEVDepthLoss', depth_bins=(1., 60., 1.)),
        weight=1.))
