# MGD (Yang et al., ECCV 2022): masked generation of the last backbone stage, plus the
# CWD term on the logits (weight 3, T 4) that the official segmentation code adds.
distillations = dict(
    feature=dict(
        tap='backbone',
        student_connector=dict(type='mmkd.MGDConnector', lambda_mgd=0.75),
        loss=dict(type='mmkd.MGDLoss', alpha_mgd=2e-5),
        weight=1.),
    logits=dict(tap='logits', loss=dict(type='mmkd.CWDLoss', tau=4.), weight=3.))
