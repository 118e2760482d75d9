# AT (Zagoruyko & Komodakis, ICLR 2017), as CIRKD's segmentation baseline uses it: the feature
# before the classifier, weight 10000 (the loss is a mean over positions), with KD 1.
distillations = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss', tau=1.), weight=1.),
    feature=dict(tap='head', loss=dict(type='mmkd.ATLoss', p=2), weight=10000.))
