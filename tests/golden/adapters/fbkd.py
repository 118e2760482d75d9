"""FBKD as mmrazor has it: a connector on either side, then distances.

The running statistics of the norms were recorded after the forward pass; in train mode they take
no part in it.
"""
from mmkd.models.losses.feature import FBKDLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError

LAYERS = {'adapt_feat': 'adaptation_layers', 'adapt_channel': 'channel_wise_adaptation',
          'adapt_spatial': 'spatial_wise_adaptation', 'adapt_nonlocal': 'non_local_adaptation'}
BLOCK = {'theta': 'theta.conv', 'out': 'conv_out.conv', 'norm': 'conv_out.bn'}
CONNECTOR = dict(in_channels=None, reduction=2, mode='dot_product', sub_sample=False,
                 maxpool_stride=2, zeros_init=True, spatial_T=0.5, channel_T=0.5)
WEIGHTS = dict(mask_l2_weight=7e-5, channel_weight=4e-3, spatial_weight=4e-3,
               nonloacl_weight=7e-5, loss_weight=1.)


def run(case):
    args = case.arguments(connector={}, loss={}, connector_training=True)
    connector = known(case, 'connector', args['connector'], CONNECTOR)
    weights = known(case, 'loss', args['loss'], WEIGHTS)
    if connector['mode'] != 'dot_product':
        raise CaseError(f'{case.name}: mode={connector["mode"]!r}: only dot_product is published')
    student, teacher = case.input('student'), case.input('teacher')
    criterion = FBKDLoss(
        student.shape[1], teacher.shape[1], reduction=connector['reduction'],
        pooling=2 * connector['maxpool_stride'] if connector['sub_sample'] else 1,
        spatial_T=connector['spatial_T'], channel_T=connector['channel_T'],
        nonlocal_weight=weights['nonloacl_weight'],
        **{key: value for key, value in weights.items() if key in WEIGHTS and key not in (
            'nonloacl_weight', 'loss_weight')})
    names = dict(LAYERS)
    pooled = '.0.0.conv' if connector['sub_sample'] else '.conv'
    for side in ('student', 'teacher'):
        block = {**BLOCK, 'g': 'g' + pooled, 'phi': 'phi' + pooled}
        names |= {f'{side}_block.{ours}': f'{side}_non_local.{theirs}'
                  for ours, theirs in block.items()}
    case.load(criterion, names).train(args['connector_training'])
    with case.feed_draws():
        parts = criterion.parts(student, teacher)
        losses = criterion(student, teacher)
    return Outcome({'loss': weights['loss_weight'] * sum(losses.values())},
                   {**parts, **on_the_way(criterion, student, teacher)})


def known(case, name, given, defaults):
    """The arguments of a part, completed by ``defaults``."""
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise CaseError(f'{case.name}: the adapter does not know the argument(s) '
                        f'{", ".join(unknown)} of {name}; it knows {", ".join(defaults)}')
    return {**defaults, **given}


def on_the_way(criterion, student, teacher):
    """What both connectors return, under the recorded names."""
    s, t = criterion.student_views(student), criterion.teacher_views(teacher)
    return {'s_spatial_mask': criterion.spatial_attention(student),
            't_spatial_mask': criterion.spatial_attention(teacher),
            's_channel_mask': criterion.channel_attention(student),
            't_channel_mask': criterion.channel_attention(teacher),
            's_feat_adapt': s['feat'], 't_feat': t['feat'],
            's_channel_pool_adapt': s['channel'], 's_spatial_pool_adapt': s['spatial'],
            't_spatial_pool': t['spatial'], 's_relation_adapt': s['nonlocal'],
            't_relation': t['nonlocal']}
