# CrossKD for ATSS: also the centerness, factor 1.
_base_ = './crosskd.py'
distillations = dict(
    predictions=dict(
        teacher_tap=dict(centerness='centerness'), loss=dict(centerness_weight=1.)))
