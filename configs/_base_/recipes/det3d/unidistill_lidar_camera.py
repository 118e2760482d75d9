# UniDistill (Zhou et al., CVPR 2023) where cameras teach LiDAR:
# features before the BEV encoder, their relations after it, and what the heads say.
distillations = dict(
    feature=dict(
        tap='bev_input',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(type='mmkd.UniDistillFeatureLoss', transposed=True),
        weight=10.),
    relation=dict(
        tap='bev',
        loss=dict(type='mmkd.UniDistillRelationLoss', transposed=True),
        weight=5.),
    response=dict(
        tap=dict(heatmap='heatmap', reg='reg'),
        loss=dict(type='mmkd.UniDistillResponseLoss'),
        weight=1.))
