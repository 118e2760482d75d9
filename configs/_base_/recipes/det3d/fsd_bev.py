# FSD-BEV's loss (Jiang et al., ECCV 2024) between student and teacher: the BEV feature, relative to
# the length of the teacher's at each cell (weight 1). eps is larger than the official 1e-7, for a
# LiDAR teacher has empty cells.
distillations = dict(
    feature=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(type='mmkd.FSDBEVLoss', eps=0.01),
        weight=1.))
