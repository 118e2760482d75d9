# CWD (Shu et al., ICCV 2021) on the class maps of all levels: weight 5, T 1, of mmrazor's run with
# GFL, the published one for detection.
distillations = dict(
    classes=dict(tap='cls', loss=dict(type='mmkd.CWDLoss', tau=1.), weight=5.))
