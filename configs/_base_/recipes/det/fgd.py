# FGD (Yang et al., CVPR 2022) with the weights of RetinaNet, GFL and SOLO: the neck's levels,
# before their norm.
distillations = dict(
    feature=dict(
        tap='neck_convs',
        student_connector=dict(type='mmkd.ConvConnector', when='unequal'),
        loss=dict(
            type='mmkd.FGDLoss',
            temp=0.5,
            alpha_fgd=1e-3,
            beta_fgd=5e-4,
            gamma_fgd=5e-4,
            lambda_fgd=5e-6),
        weight=1.))
