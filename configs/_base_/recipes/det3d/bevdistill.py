# BEVDistill (Chen et al., ICLR 2023): the BEV feature near the boxes (0.01) and the relation
# between the places where the student sees objects (0.2). The sparse part needs detectors with
# queries and is left out.
distillations = dict(
    dense=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector', kernel_size=3, norm=True, act=True),
        loss=dict(type='mmkd.BEVDistillDenseLoss', min_overlap=0.1, min_radius=1),
        weight=0.01),
    relation=dict(
        student_tap=dict(bev='bev', heatmap='heatmap', reg='reg'),
        teacher_tap=dict(bev='bev', heatmap='heatmap'),
        loss=dict(type='mmkd.BEVDistillRelationLoss', T=0.07, num_points=500),
        weight=0.2))
