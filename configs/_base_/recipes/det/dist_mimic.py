# DIST with mimicking: also the mean squared error on the neck's levels, each through a 1x1
# convolution.
_base_ = './dist.py'
distillations = dict(
    feature=dict(
        tap='neck',
        student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(type='mmkd.FitNetLoss'),
        weight=1.))
