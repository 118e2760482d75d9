# LD (Zheng et al., CVPR 2022) for detectors with distributions over the sides of a box (GFL): the
# distributions of positives (0.25, T 10) and of the valuable region (0.25, T 10), and the class
# scores of positives (10, T 2). The factors are the loss's.
distillations = dict(
    predictions=dict(
        tap=dict(cls='cls', reg='reg'), loss=dict(type='mmkd.LDLoss'), weight=1.))
