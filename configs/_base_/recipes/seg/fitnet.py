# FitNet (Romero et al. 2015), one-stage, as CIRKD's segmentation baseline uses it: the feature
# before the classifier through a 1x1 convolution without bias, weight 10, with KD 1.
distillations = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss', tau=1.), weight=1.),
    feature=dict(
        tap='head',
        student_connector=dict(type='mmkd.ConvConnector', bias=False),
        loss=dict(type='mmkd.FitNetLoss'),
        weight=10.))
