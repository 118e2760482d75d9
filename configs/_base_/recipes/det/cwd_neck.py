# CWD (Shu et al., ICCV 2021) on the levels of the neck: weight 10, T 1, of mmrazor's configs for
# Faster R-CNN and RetinaNet, for which no number was published.
distillations = dict(
    feature=dict(
        tap='neck',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(type='mmkd.CWDLoss', tau=1.),
        weight=10.))
