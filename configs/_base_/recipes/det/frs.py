# FRS (Du et al., NeurIPS 2021) with the weights of RetinaNet: the neck's levels (0.005) and the
# class scores (0.02) where the teacher is sure of anything, rising over the first 500 iterations.
distillations = dict(
    feature=dict(
        tap=dict(feature='neck', cls='cls'),
        student_connector=dict(feature=dict(type='mmkd.ConvConnector', kernel_size=3)),
        loss=dict(type='mmkd.FRSLoss', feat_weight=0.005, cls_weight=0.02),
        weight=1.,
        schedule=dict(type='linear', begin=0, end=500)))
