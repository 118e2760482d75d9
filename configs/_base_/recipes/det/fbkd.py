# FBKD (Zhang & Ma, ICLR 2021) as mmrazor has it, on the neck's levels, before their norm: the map
# (7e-5), its means over positions and over channels (4e-3 each) and a non-local block's (7e-5).
# The factors are the loss's.
distillations = dict(
    feature=dict(tap='neck_convs', loss=dict(type='mmkd.FBKDLoss'), weight=1.))
