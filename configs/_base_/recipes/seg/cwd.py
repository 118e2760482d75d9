# CWD (Shu et al., ICCV 2021) on the logits: weight 3, T 4, of the official Cityscapes runs.
distillations = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.CWDLoss', tau=4.), weight=3.))
