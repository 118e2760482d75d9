# UniDistill (Zhou et al., CVPR 2023) where LiDAR teaches cameras:
# features before the BEV encoder, their relations after it, and what the heads say.
distillations = dict(
    feature=dict(
        tap='bev_input',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(type='mmkd.UniDistillFeatureLoss', transposed=True),
        weight=100.),
    relation=dict(
        tap='bev',
        loss=dict(type='mmkd.UniDistillRelationLoss', transposed=True),
        weight=40.),
    response=dict(
        tap=dict(heatmap='heatmap', reg='reg'),
        loss=dict(type='mmkd.UniDistillResponseLoss'),
        weight=10.))
