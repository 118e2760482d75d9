# DIST for two-stage detectors: the class scores of RoIs, the same for teacher and student.
distillations = dict(
    classes=dict(tap='roi_cls', loss=dict(type='mmkd.DISTLoss'), weight=1.))
