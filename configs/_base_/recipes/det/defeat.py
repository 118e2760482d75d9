# DeFeat (Guo et al., CVPR 2021) on the neck's levels: objects 3, background 12, as in the released
# config.
distillations = dict(
    feature=dict(
        tap='neck',
        student_connector=dict(type='mmkd.ConvConnector', kernel_size=3, init_std=1e-4),
        loss=dict(type='mmkd.DeFeatLoss', fg_weight=3., bg_weight=12.),
        weight=1.))
