"""FGD, focal and global distillation (Yang et al., "Focal and Global Knowledge Distillation for
Detectors", CVPR 2022).

Focal: squared errors weighted by the teacher's attention, foreground and background apart. Global:
the same maps after a global context block on either side. Formula and defaults are those of the
official code, whose configs for one-stage detectors halve gamma (5e-4).
"""
import torch
from mmengine.model import constant_init, kaiming_init
from torch import nn

from mmkd.registry import MODELS

from .. import boxes as box_maps
from ..full_precision import full_precision, matmul, wide
from ..maps import check_maps, empty_loss, prepare


@MODELS.register_module()
class FGDLoss(nn.Module):
    """Errors in foreground and background, of the attention, and of the global context.

    The attention of a map is over positions, ``H*W softmax(mean |x| over channels / temp)``, and
    over channels, ``C softmax(mean |x| over positions / temp)``. With A the product of both for
    the teacher:

    * 'fg': sum of fg A (S - T)^2. fg is 1 / cells of the smallest box at a place.
    * 'bg': the same with bg, 1 / background cells at each of them.
    * 'mask': the sum of absolute differences of both attentions.
    * 'rela': sum of (GC(S) - GC(T))^2, GC a global context block for each side. Both are trained.

    All are sums, divided by the batch size. Without boxes 'fg' is 0.

    Scale per level: 'fg' grows with the boxes and 'bg' with nothing but the channels, but 'mask'
    grows with H*W and 'rela' with C*H*W, so that the finest level has three quarters of them.

    Args:
        teacher_channels: channels of the maps; found by a dry run if None.
        temp: temperature of the attention; 0.8 for FCOS.
        alpha_fgd: weight of 'fg'.
        beta_fgd: weight of 'bg'.
        gamma_fgd: weight of 'mask'.
        lambda_fgd: weight of 'rela'.
        official_boxes: draw boxes as the official code does, which stretches them on images that
            are padded (it divides by an image's own size, though the map covers the padding), and
            where a box leaves the image: its weight is 1 / cells of the whole box, and a negative
            coordinate counts from the other side. False: boxes lie where they are, and a weight is
            1 / cells on the map. There is no difference in images that fill the batch, except for
            boxes that reach the border (by one row or column of cells).

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if teacher_channels is missing or temp is not positive.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, teacher_channels=None, temp=0.5, alpha_fgd=1e-3, beta_fgd=5e-4,
                 gamma_fgd=1e-3, lambda_fgd=5e-6, official_boxes=False):
        super().__init__()
        if not teacher_channels:
            raise ValueError(f'FGDLoss: teacher_channels={teacher_channels!r}, expected the number '
                             'of channels. A distiller finds it by a dry run; set it where the '
                             'loss is built alone')
        if not temp > 0:
            raise ValueError(f'FGDLoss: temp={temp!r}, expected a temperature greater than 0')
        self.temp = temp
        self.weights = dict(fg=alpha_fgd, bg=beta_fgd, mask=gamma_fgd, rela=lambda_fgd)
        self.official_boxes = official_boxes
        self.student_context = GlobalContext(teacher_channels)
        self.teacher_context = GlobalContext(teacher_channels)

    def forward(self, student, teacher, boxes, image_sizes, padded_size):
        """Compares the maps; a student of another size is resized bilinearly.

        Args:
            student: (N, C, H, W).
            teacher: (N, C, H', W').
            boxes: list of N (n, 4), xyxy in pixels of the padded batch.
            image_sizes: list of N (h, w), before padding.
            padded_size: (h, w) of the batch.

        Returns:
            dict: 'fg', 'bg', 'mask' and 'rela', each times its weight.

        Raises:
            ValueError: if batch sizes or channels differ, or there are boxes of other images.
        """
        parts = self.parts(student, teacher, boxes, image_sizes, padded_size)
        return {name: weight * parts[name] for name, weight in self.weights.items()}

    def parts(self, student, teacher, boxes, image_sizes, padded_size):
        """The four losses before their weights; see ``forward``."""
        check_maps('FGDLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return dict.fromkeys(self.weights, empty)
        with full_precision(student):
            student, teacher = prepare(student, teacher)
            n = len(teacher)
            if not n == len(boxes) == len(image_sizes):
                raise ValueError(f'FGDLoss: maps of {n} images, boxes of {len(boxes)}, sizes of '
                                 f'{len(image_sizes)}: all must come from the same images')
            fg, bg = self.masks(boxes, teacher.shape[2:], image_sizes, padded_size)
            (s_place, s_channel), (t_place, t_channel) = map(self.attention, (student, teacher))
            error = (student - teacher).square()
            focal = (error * t_channel[:, :, None, None]).sum(1) * t_place
            relation = self.student_context(student) - self.teacher_context(teacher)
            return dict(fg=(fg.to(focal) * focal).sum() / n, bg=(bg.to(focal) * focal).sum() / n,
                        mask=((s_channel - t_channel).abs().sum()
                              + (s_place - t_place).abs().sum()) / n,
                        rela=relation.square().sum() / n)

    def attention(self, x):
        """(N, C, H, W) to the attention over positions (N, H, W) and over channels (N, C)."""
        n, c, h, w = x.shape
        strength = x.abs()
        place = h * w * (strength.mean(1).flatten(1) / self.temp).softmax(1)
        channel = c * (strength.mean((2, 3)) / self.temp).softmax(1)
        return place.view(n, h, w), channel

    @torch.no_grad()
    def masks(self, boxes, size, image_sizes, padded_size):
        """Weights (N, H, W) of the foreground and of the background on a map of ``size``."""
        foreground = []
        for found, image in zip(boxes, image_sizes, strict=True):
            cells = None
            if self.official_boxes:
                ranges, cells = official_ranges(found, image, size)
            else:
                ranges = box_maps.cell_ranges(box_maps.on_map(found, padded_size, size), size)
            foreground.append(box_maps.foreground_share(ranges, size, cells))
        background = [box_maps.background_share(share) for share in foreground]
        return torch.stack(foreground), torch.stack(background)

    def extra_repr(self):
        return f'temp={self.temp}, weights={self.weights}, official_boxes={self.official_boxes}'


class GlobalContext(nn.Module):
    """A map (N, C, H, W) plus the weighted mean of its positions, through a bottleneck.

    Cao et al., "GCNet", 2019. At first it adds nothing.
    """

    def __init__(self, channels):
        super().__init__()
        hidden = max(channels // 2, 1)
        self.weigh = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.LayerNorm([hidden, 1, 1]), nn.ReLU(),
            nn.Conv2d(hidden, channels, 1))
        kaiming_init(self.weigh, mode='fan_in')
        constant_init(self.transform[-1], 0)

    def forward(self, x):
        weights = self.weigh(x).flatten(2).softmax(2)
        # a product of matrices, like the official one: the norm makes much of a rounding error
        context = matmul(x.flatten(2), weights.mT)
        return x + self.transform(context[..., None])


def official_ranges(boxes, image, size):
    """The ranges (n, 4) that the official code draws into, and the cells (n,) it divides by."""
    boxes = wide(boxes)
    both = [boxes.new_tensor([xy[1], xy[0]] * 2) for xy in (image, size)]
    boxes = boxes / both[0] * both[1]
    limit, low, high = both[1][:2], boxes[:, :2].floor(), boxes[:, 2:].ceil() + 1
    # a slice of Python: what is negative counts from the end
    ranges = torch.cat([torch.where(x < 0, x + limit, x).clamp(min=0).minimum(limit)
                        for x in (low, high)], 1)
    return ranges, (high - low).prod(1)
