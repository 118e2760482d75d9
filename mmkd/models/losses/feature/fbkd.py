"""FBKD, feature-based distillation of detectors with attention and non-local blocks (Zhang and Ma,
"Improve Object Detection with Feature-based Knowledge Distillation", ICLR 2021).

As mmrazor has it, whose number the recipe is for; the authors' own code could not be read. A fork
that embeds it uses temperatures of 0.1, the channel mask, weights six times as large, and pools
once.
"""
import torch
import torch.nn.functional as F
from mmengine.model import constant_init, normal_init
from torch import nn

from mmkd.registry import MODELS

from ..full_precision import full_precision, matmul
from ..maps import check_maps, empty_loss, prepare


@MODELS.register_module()
class FBKDLoss(nn.Module):
    """Distances of the maps, of their means over either axis, and of their relations.

    Each is an L2 norm over the whole batch, between the teacher's and what a layer makes of the
    student's:

    * 'feat': the map, after a 1x1 convolution. Squares are weighted by the mean of both sides'
      attention over positions, ``H*W softmax(mean |x| over channels / spatial_T)``.
    * 'channel': the mean over positions, after a linear layer.
    * 'spatial': the mean over channels, after a 3x3 convolution.
    * 'nonlocal': the map after a non-local block (one for each side), after a 1x1 convolution.

    All layers are trained, the block on the teacher's map too. The attention gets no gradient.
    Where a distance is 0, so is its gradient, which is NaN in official code ('feat').

    Scale per level: 'feat' and 'nonlocal' grow with the root of N*C*H*W, 'spatial' with that of
    N*H*W, so each level weighs twice as much as the next coarser one; 'channel' does not.

    Args:
        student_channels: channels of the student's map; found by a dry run if None.
        teacher_channels: channels of the teacher's map; found by a dry run if None.
        stride: of the level, which the next two go by; found by a dry run if None.
        reduction: how much narrower than the map a non-local block is; if None, as published: 4
            below stride 16, else 2.
        pooling: windows of a non-local block, whose maxima all positions are related to; if None,
            as published: 16 at stride 4, 8 at stride 8, else 4. A smaller map is one window.
            mmrazor pools twice, so this is twice its ``maxpool_stride``.
        spatial_T: temperature of the attention over positions.
        channel_T: temperature of the attention over channels.
        channel_mask: whether the attention over channels weights 'feat', too.
        mask_l2_weight: weight of 'feat'.
        channel_weight: weight of 'channel'.
        spatial_weight: weight of 'spatial'.
        nonlocal_weight: weight of 'nonlocal'.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if channels are missing, or unequal with channel_mask.
    """

    def __init__(self, student_channels=None, teacher_channels=None, stride=None, reduction=None,
                 pooling=None, spatial_T=0.5, channel_T=0.5, channel_mask=False,
                 mask_l2_weight=7e-5, channel_weight=4e-3, spatial_weight=4e-3,
                 nonlocal_weight=7e-5):
        super().__init__()
        if not student_channels or not teacher_channels:
            raise ValueError(
                f'FBKDLoss: student_channels={student_channels!r}, teacher_channels='
                f'{teacher_channels!r}, expected numbers of channels. A distiller finds them by a '
                'dry run; set them where the loss is built alone')
        if channel_mask and student_channels != teacher_channels:
            raise ValueError(
                f'FBKDLoss: channel_mask=True with {student_channels} channels of the student and '
                f'{teacher_channels} of the teacher, which have no common attention. Project the '
                "student with a student_connector, for instance dict(type='mmkd.ConvConnector')")
        if reduction is None:
            reduction = 4 if stride is not None and stride < 16 else 2
        if pooling is None:
            pooling = 4 if stride is None else max(64 // int(stride), 4)
        self.spatial_T, self.channel_T = spatial_T, channel_T
        self.channel_mask = channel_mask
        self.weights = {'feat': mask_l2_weight, 'channel': channel_weight,
                        'spatial': spatial_weight, 'nonlocal': nonlocal_weight}
        self.adapt_feat = nn.Conv2d(student_channels, teacher_channels, 1)
        self.adapt_channel = nn.Linear(student_channels, teacher_channels)
        self.adapt_spatial = nn.Conv2d(1, 1, 3, padding=1)
        self.adapt_nonlocal = nn.Conv2d(student_channels, teacher_channels, 1)
        self.student_block = NonLocal(student_channels, reduction, pooling)
        self.teacher_block = NonLocal(teacher_channels, reduction, pooling)

    def forward(self, student, teacher):
        """Compares the maps; a student of another size is resized bilinearly.

        Args:
            student: (N, Cs, H, W).
            teacher: (N, Ct, H', W').

        Returns:
            dict: 'feat', 'channel', 'spatial' and 'nonlocal', each times its weight.

        Raises:
            ValueError: if batch sizes differ.
        """
        parts = self.parts(student, teacher)
        return {name: weight * parts[name] for name, weight in self.weights.items()}

    def parts(self, student, teacher):
        """The four distances before their weights; see ``forward``."""
        check_maps('FBKDLoss', student, teacher)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return dict.fromkeys(self.weights, empty)
        with full_precision(student):
            student, teacher = prepare(student, teacher)
            ours, theirs = self.student_views(student), self.teacher_views(teacher)
            mask = self.mask(student, teacher).sqrt()
            return {name: torch.linalg.vector_norm(
                (theirs[name] - ours[name]) * (mask if name == 'feat' else 1))
                for name in self.weights}

    def student_views(self, x):
        """What is compared of the student's map (N, Cs, H, W), after the adapting layers."""
        mean = matmul(x.mean((2, 3))[None], self.adapt_channel.weight.mT[None])[0]
        return {'feat': self.adapt_feat(x), 'channel': mean + self.adapt_channel.bias,
                'spatial': self.adapt_spatial(x.mean(1, keepdim=True)),
                'nonlocal': self.adapt_nonlocal(self.student_block(x))}

    def teacher_views(self, x):
        """What is compared of the teacher's map (N, Ct, H, W)."""
        return {'feat': x, 'channel': x.mean((2, 3)), 'spatial': x.mean(1, keepdim=True),
                'nonlocal': self.teacher_block(x)}

    @torch.no_grad()
    def mask(self, student, teacher):
        """The weights of 'feat', (N, 1, H, W), or (N, C, H, W) with ``channel_mask``."""
        mask = (self.spatial_attention(student) + self.spatial_attention(teacher)) / 2
        if self.channel_mask:
            mask = mask * (self.channel_attention(student) + self.channel_attention(teacher)) / 2
        return mask

    def spatial_attention(self, x):
        """(N, C, H, W) to (N, 1, H, W), of mean 1."""
        strength = x.abs().mean(1, keepdim=True).flatten(2) / self.spatial_T
        attention = strength.softmax(2) * strength.shape[2]
        return attention.unflatten(2, x.shape[2:])

    def channel_attention(self, x):
        """(N, C, H, W) to (N, C, 1, 1), of mean 1."""
        strength = x.abs().mean((2, 3), keepdim=True) / self.channel_T
        return strength.softmax(1) * x.shape[1]

    def extra_repr(self):
        return (f'weights={self.weights}, spatial_T={self.spatial_T}, '
                f'channel_T={self.channel_T}, channel_mask={self.channel_mask}')


class NonLocal(nn.Module):
    """A residual non-local block on products (Wang et al., 2018), which at first adds nothing.

    ``x + norm(out(y))``, ``y_i = sum_j (theta_i . phi_j) g_j / P`` over the P windows j. There is
    no softmax, so the products can be taken in the other order, ``theta_i . (sum_j phi_j g_j)``,
    and no matrix of all pairs is ever made.
    """

    def __init__(self, channels, reduction, pooling):
        super().__init__()
        inner = max(channels // reduction, 1)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.pooling = pooling
        for conv in (self.theta, self.phi, self.g):
            normal_init(conv, std=0.01)
        constant_init(self.norm, 0)

    def forward(self, x):
        """(N, C, H, W) to the same."""
        window = [min(self.pooling, side) for side in x.shape[2:]]
        g, phi = (F.max_pool2d(conv(x), window).flatten(2) for conv in (self.g, self.phi))
        summary = matmul(g, phi.mT / g.shape[2])
        related = matmul(summary, self.theta(x).flatten(2)).unflatten(2, x.shape[2:])
        return x + self.normalised(self.out(related))

    def normalised(self, x):
        """``norm(x)``; one value in a channel has no statistics, so it uses the running ones."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.norm.running_mean, self.norm.running_var,
                                self.norm.weight, self.norm.bias, eps=self.norm.eps)
        return self.norm(x)
