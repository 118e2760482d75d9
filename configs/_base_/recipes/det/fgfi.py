# FGFI (Wang et al., CVPR 2019) on the neck's levels, in the form and with the weight of DeFeat's
# code.
distillations = dict(
    feature=dict(
        tap='neck',
        student_connector=dict(type='mmkd.ConvConnector', kernel_size=3),
        loss=dict(type='mmkd.FGFILoss', form='fpn'),
        weight=1.))
