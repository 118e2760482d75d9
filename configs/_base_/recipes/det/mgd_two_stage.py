# MGD for two-stage detectors, whose finest level is larger: other alpha and lambda.
_base_ = './mgd.py'
distillations = dict(
    feature=dict(
        student_connector=dict(lambda_mgd=0.45),
        loss=dict(alpha_mgd=5e-7)))
