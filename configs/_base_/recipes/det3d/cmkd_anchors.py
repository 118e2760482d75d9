# CMKD (Hong et al., ECCV 2022) of detectors with anchors, with the weights of its code for KITTI:
# the BEV feature (32; 4 with PointPillars) and the predictions with the teacher's as soft labels.
distillations = dict(
    feature=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(type='mmkd.CMKDFeatureLoss'),
        weight=32.),
    response=dict(
        tap=dict(cls='cls', box_reg='box_reg', dir_cls='dir_cls'),
        loss=dict(type='mmkd.CMKDAnchorLoss', cls_weight=2., loc_weight=2., dir_weight=0.4),
        weight=1.))
