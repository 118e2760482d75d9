# DIST (Huang et al., NeurIPS 2022) on the class maps of one-stage detectors.
distillations = dict(
    classes=dict(tap='cls', loss=dict(type='mmkd.DISTLoss', use_sigmoid=True), weight=1.))
