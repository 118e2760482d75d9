# FGD with the weights of YOLOX, on what its neck gives, after norm and activation.
_base_ = './fgd.py'
distillations = dict(
    feature=dict(
        tap='neck', loss=dict(alpha_fgd=2e-3, beta_fgd=1e-3, gamma_fgd=1e-3, lambda_fgd=1e-5)))
