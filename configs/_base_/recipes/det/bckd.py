# BCKD (Yang et al., ICCV 2023): every class score by itself (1), and boxes by their overlap (4).
# The factors are the loss's.
distillations = dict(
    predictions=dict(
        tap=dict(cls='cls', reg='reg'), loss=dict(type='mmkd.BCKDLoss'), weight=1.))
