# CMKD (Hong et al., ECCV 2022) with the weights of its code for several cameras (CMKD-MV): the BEV
# feature (50), and the heads' heatmaps (0.2) and boxes (50) with the teacher's as soft labels. Both
# heads must have the same tasks.
distillations = dict(
    feature=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(type='mmkd.CMKDFeatureLoss'),
        weight=50.),
    response=dict(
        tap=dict(heatmap='heatmap', reg='reg'),
        loss=dict(type='mmkd.CMKDCenterLoss', cls_weight=0.2, reg_weight=50.),
        weight=1.))
