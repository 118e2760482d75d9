# FGD with the weights of Faster and Mask R-CNN.
_base_ = './fgd.py'
distillations = dict(
    feature=dict(
        loss=dict(alpha_fgd=5e-5, beta_fgd=2.5e-5, gamma_fgd=5e-5, lambda_fgd=5e-7)))
