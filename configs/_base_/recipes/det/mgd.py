# MGD (Yang et al., ECCV 2022) for one-stage detectors: masked generation of the neck's levels,
# before their norm.
distillations = dict(
    feature=dict(
        tap='neck_convs',
        student_connector=dict(type='mmkd.MGDConnector', lambda_mgd=0.65),
        loss=dict(type='mmkd.MGDLoss', alpha_mgd=2e-5),
        weight=1.))
