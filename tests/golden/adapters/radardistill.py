"""RadarDistill's two parts. Where the radar is active nowhere beyond the LiDAR, the official loss
is 0 times infinity, ours finite."""
import re

from mmkd.models.losses.bev import RadarDistillLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays


class Arrays(BareArrays):
    """With the heatmaps of each task."""

    def prefixed(self, name, arrays):
        known = dict(self.known)
        self.known |= {key: (f'in__{key}', 'float *') for key in arrays
                       if re.fullmatch(r'(gt_heatmap|radar_hm_logits)\.task\d+', key)}
        try:
            return super().prefixed(name, arrays)
        finally:
            self.known = known


STUDENT = {'radar_low_8x_1': 'float B C Y X', 'radar_low_8x_2': 'float B C Y X',
           'radar_high': 'float B D V U', 'radar_high_8x': 'float B E V U'}
ARRAYS = Arrays(
    given=STUDENT | {'lidar_low': 'float B C Y X', 'lidar_high': 'float B D V U',
                     'lidar_high_8x': 'float B E V U'},
    expected={'loss_total': 'float', **dict.fromkeys((f'loss_tb.{name}' for name in (
        'low_feature_loss', 'high_distill_loss', 'distll_loss', 'low_distill_de_8x_loss',
        'low_distill_loss', 'mask_loss', 'mask_de_8x_loss')), 'float?')},
    gradients=tuple(STUDENT), loss='loss_total')


def run(case):
    args = case.arguments(afd_active=3e-4, afd_radar_only=5e-5, pfd_thr=0.1, pfd_pos=5, pfd_fp=1,
                          high_x=25, low_x=5)
    criterion = RadarDistillLoss(args['afd_active'], args['afd_radar_only'], args['pfd_pos'],
                                 args['pfd_fp'], args['pfd_thr'], args['low_x'], args['high_x'])
    low = case.input('lidar_low').detach()
    first, last = (criterion.activation(case.input(f'radar_low_8x_{i}'), low) for i in (1, 2))
    drawn, logits = ([case.inputs[key].detach() for key in sorted(case.inputs) if key.startswith(
        f'{name}.')] for name in ('gt_heatmap', 'radar_hm_logits'))
    if len(drawn) != len(logits) or not drawn:
        raise CaseError(f'{case.name}: {len(drawn)} gt_heatmap.taskN and {len(logits)} '
                        'radar_hm_logits.taskN; expected as many')
    high = args['high_x'] * .5 * sum(
        criterion.proposals(case.input(f'radar_{name}'), case.input(f'lidar_{name}').detach(),
                            drawn, logits) for name in ('high', 'high_8x'))
    afd = args['low_x'] * .5 * sum((*first, *last))
    return Outcome({'loss_total': afd + high}, {
        'loss_tb.low_feature_loss': afd, 'loss_tb.high_distill_loss': high,
        'loss_tb.distll_loss': afd + high, 'loss_tb.low_distill_de_8x_loss': first[0],
        'loss_tb.low_distill_loss': last[0], 'loss_tb.mask_loss': last[1],
        'loss_tb.mask_de_8x_loss': first[1]})
