# Pixel-wise KD on the logits (Hinton et al. 2015): CIRKD's form and weight, lambda 1, T 1.
distillations = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss', tau=1.), weight=1.))
