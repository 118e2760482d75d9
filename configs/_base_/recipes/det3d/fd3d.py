# The HeatmapDistiller of FD3D's repository (Zeng et al., CVPR 2023): the BEV feature near the boxes
# (0.1) and the channels of the image neck (0.25).
distillations = dict(
    feature=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(type='mmkd.FD3DHeatmapLoss'),
        weight=0.1),
    neck=dict(
        tap='neck',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(type='mmkd.CWDLoss', tau=2., divergence='cross_entropy'),
        weight=0.25))
