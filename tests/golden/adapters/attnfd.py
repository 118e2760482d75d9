"""AttnFD: CBAM on both sides, connector on the student's, summed over the taps.

A case holds the raw features ``s0, s1 ...`` and ``t0, t1 ...``; the CBAM of tap k is
``?_net.cbam.k``, its connector ``Connectors.(k + 3)``. The official Distiller builds a connector
for every stage of the network and uses the last ones. A side without a channel MLP is the
parameter-free CBAM, whose file still builds (and never uses) the spatial convolution.

``refined_s0`` and ``refined_t0`` were recorded by calling that CBAM again, which updates the
running statistics of its BatchNorm once more; its counter says how often it was called.
"""
import re

from mmkd.models.connectors import CBAMConnector
from mmkd.models.losses.feature import AttnFDLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError

GATES = {'channel_mlp.0': 'ChannelGate.mlp.1', 'channel_mlp.2': 'ChannelGate.mlp.3',
         'spatial.0': 'SpatialGate.spatial.conv', 'spatial.1': 'SpatialGate.spatial.bn'}


def run(case):
    # which side is parameter-free is read off the weights, however an argument calls it
    modes = {name: None for name in case.args if re.search('cbam|mode|student|teacher', name)}
    args = case.arguments(attn_lambda=2., reduction_ratio=16, pool_types=('avg', 'max'),
                          spatial_kernel=7, no_spatial=False, **modes)
    if args['no_spatial']:
        raise CaseError(f'{case.name}: no_spatial=True: mmkd has no CBAM without a spatial gate')
    options = {'reduction_ratio': args['reduction_ratio'], 'pool_types': args['pool_types'],
               'spatial_kernel': args['spatial_kernel']}
    # the official code lets the gradient through to the teacher's CBAM
    criterion = AttnFDLoss(detach_teacher=False)
    total, outputs = 0., {}
    taps = sorted(int(name[1:]) for name in case.inputs if re.fullmatch(r's\d+', name))
    offset = connector_offset(case, len(taps))
    modules = []
    for k in taps:
        student, teacher = case.input(f's{k}'), case.input(f't{k}')
        modules.append((k, side(case, f's_net.cbam.{k}', student, options, teacher.shape[1],
                                f'Connectors.{k + offset}'),
                        side(case, f't_net.cbam.{k}', teacher, options)))
    case.unused(r'Connectors\.\d+\.')
    case.unused(r'_net\.cbam\.\d+\.SpatialGate\.')
    with case.feed_draws():
        for k, student_cbam, teacher_cbam in modules:
            refined = student_cbam.refine(case.input(f's{k}'))
            target = teacher_cbam(case.input(f't{k}'))
            outputs |= {f'refined_s{k}': refined, f'refined_t{k}': target}
            total = total + criterion(student_cbam.project(refined), target)
            for name, module in (('s', student_cbam), ('t', teacher_cbam)):
                for _ in range(calls(case, f'{name}_net.cbam.{k}') - 1):
                    module.refine(case.input(f'{name}{k}'))
    return Outcome({'loss': args['attn_lambda'] * total}, outputs)


def side(case, prefix, feature, options, out_channels=None, connector=None):
    """The CBAM of one side, with the recorded weights."""
    learnable = case.find(f'{prefix}.ChannelGate.mlp.1.weight') is not None
    module = CBAMConnector(feature.shape[1], out_channels, learnable=learnable,
                           project=connector is not None, **options)
    names = {ours: f'{prefix}.{official}' for ours, official in GATES.items()}
    names |= {'project.0': f'{connector}.0', 'project.1': f'{connector}.1'}
    return case.load(module, names)


def calls(case, prefix):
    """How often the recording called the CBAM called ``prefix``."""
    counter = case.find(f'{prefix}.{GATES["spatial.1"]}.num_batches_tracked')
    after = case.expected.get(f'after__{counter}')
    return 1 if after is None else int(after) - int(case.weights[counter])


def connector_offset(case, taps):
    """How many connectors come before the first tap's: the taps use the last ones."""
    numbers = [int(match[1]) for match in
               (re.search(r'Connectors\.(\d+)\.', name) for name in case.weights) if match]
    return max(numbers, default=taps - 1) + 1 - taps
