"""bev_pool_v2 on given ranks: the sum of the pooled BEV, and its gradients.

The official test derives the intervals from ``ranks_bev``; a case may hold them, too.
"""
from mmkd.ops import bev_pool_v2
from tests.golden.case import Outcome
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'depth': 'float B N D H W', 'feat': 'float B N H W C', 'ranks_depth': 'int K',
           'ranks_feat': 'int K', 'ranks_bev': 'int K', 'bev_feat_shape': 'int 5',
           'interval_starts': 'int? M', 'interval_lengths': 'int? M'},
    expected={'loss_sum': 'float'}, gradients=('depth', 'feat'), loss='loss_sum')


def run(case):
    case.arguments()
    ranks = [case.input(f'ranks_{name}') for name in ('depth', 'feat', 'bev')]
    _, lengths = ranks[2].unique_consecutive(return_counts=True)
    intervals = {'interval_starts': lengths.cumsum(0) - lengths, 'interval_lengths': lengths}
    intervals = [case.inputs.get(name, derived) for name, derived in intervals.items()]
    bev = bev_pool_v2(case.input('depth'), case.input('feat'), *ranks,
                      tuple(case.input('bev_feat_shape').tolist()), *intervals)
    return Outcome({'loss_sum': bev.sum()}, terms={'out__loss_sum': bev.abs().sum()})
