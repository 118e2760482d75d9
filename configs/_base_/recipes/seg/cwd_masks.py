# For students and teachers that classify masks (Mask2Former, MaskFormer): CWD (Shu et al.,
# ICCV 2021) with its weight for logits (3, T 4) on the class map that predict computes, and with
# its weight for features (50, T 1) on the pixel decoder's feature, of which masks are made,
# through a 1x1 convolution. The pairing is ours; there is no published number for it.
distillations = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.CWDLoss', tau=4.), weight=3.),
    feature=dict(
        tap='mask_features',
        student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(type='mmkd.CWDLoss', tau=1.),
        weight=50.))
