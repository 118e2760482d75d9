"""CIRKD, memory bank part (Yang et al., CVPR 2022, arXiv:2204.06986).

Each pixel's similarities to teacher features stored from earlier batches, single pixels
and class-wise region means, should be the same for student and teacher.

The published code draws ``randperm(count)`` for a class with ``count`` pixels and then
indexes the whole map with it, so the "pixels of the class" that it stores are the first
positions of the map. That is what produced the published numbers and is the default here
(``queue_rule='published'``); 'class_pure' stores pixels of the class.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..maps import check_maps
from .cirkd_minibatch import unit_pixels
from .cirkd_queue import broadcast, gather_rows, push_pixels, push_region
from .streamed import bank_kl, working_dtype

QUEUE_RULES = ('published', 'class_pure')


@MODELS.register_module()
class CIRKDMemoryLoss(nn.Module):
    """KL between similarities to the stored pixels and to the stored regions.

    The student comes in already projected to the teacher's channels. In training mode the
    queues take up the teacher's features of all ranks before the loss is computed; rank 0
    draws every permutation, so the queues stay bitwise the same on all ranks (given that
    they start the same, which DistributedDataParallel sees to). All classes are contrasted
    at the same random slots, also slots that still hold their random initial vectors.

    Pixels are ignored where the label is ``ignore_index``, -1, or 255 (unless 255 is a
    class). If no pixel is left, both losses are zero.

    Args:
        num_classes: number of classes; filled from the dry run.
        teacher_channels: channels of the compared features; filled from the dry run.
        pixel_memory_size: stored pixels per class.
        region_memory_size: stored regions per class.
        pixel_contrast_size: ``size // num_classes + 1`` pixel slots are drawn per step.
        region_contrast_size: the same for regions.
        contrast_kd_temperature: temperature of the KL; its square multiplies the loss.
        contrast_temperature: divides the similarities.
        pixel_update_freq: most pixels stored per image and class in a step.
        queue_rule: 'published' or 'class_pure', see above.
        ignore_index: label without loss; filled from the dry run.
        pixel_weight: factor of the pixel loss.
        region_weight: factor of the region loss.

    Sizes: the student's map is resized bilinearly to the teacher's height and width, labels to
        the nearest.

    Raises:
        ValueError: if ``num_classes`` or ``teacher_channels`` is missing, or a size or
            temperature is not positive, or ``queue_rule`` is unknown.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, num_classes: int | None = None, teacher_channels: int | None = None,
                 pixel_memory_size: int = 20000, region_memory_size: int = 2000,
                 pixel_contrast_size: int = 4096, region_contrast_size: int = 1024,
                 contrast_kd_temperature: float = 1., contrast_temperature: float = 0.1,
                 pixel_update_freq: int = 16, queue_rule: str = 'published',
                 ignore_index: int | None = None, pixel_weight: float = 1.,
                 region_weight: float = 1.):
        super().__init__()
        positive = dict(
            num_classes=num_classes, teacher_channels=teacher_channels,
            pixel_memory_size=pixel_memory_size, region_memory_size=region_memory_size,
            contrast_kd_temperature=contrast_kd_temperature,
            contrast_temperature=contrast_temperature, pixel_update_freq=pixel_update_freq)
        for name, number in positive.items():
            if number is None:
                raise ValueError(f'{name}=None: CIRKDMemoryLoss needs it to size its queues; '
                                 'set it, or let the distiller fill it from its dry run')
            if not number > 0:
                raise ValueError(f'{name}={number}: expected a number greater than 0')
        for name, number in dict(pixel_contrast_size=pixel_contrast_size,
                                 region_contrast_size=region_contrast_size).items():
            if number < 0:
                raise ValueError(f'{name}={number}: expected a number of slots, 0 or more')
        if queue_rule not in QUEUE_RULES:
            raise ValueError(f'queue_rule={queue_rule!r}: use one of {QUEUE_RULES}')
        self.tau = contrast_temperature * contrast_kd_temperature
        working_dtype(torch.float32, self.tau)
        self.num_classes = num_classes
        self.pixel_slots = pixel_contrast_size // num_classes + 1
        self.region_slots = region_contrast_size // num_classes + 1
        self.kd_temperature = contrast_kd_temperature
        self.pixel_update_freq = pixel_update_freq
        self.queue_rule = queue_rule
        self.ignore_index = ignore_index
        self.pixel_weight = pixel_weight
        self.region_weight = region_weight
        self._in_step = False
        for name, size in (('pixel', pixel_memory_size), ('region', region_memory_size)):
            queue = torch.randn(num_classes, size, teacher_channels)
            self.register_buffer(f'{name}_queue', F.normalize(queue, dim=2))
            self.register_buffer(f'{name}_queue_ptr', torch.zeros(num_classes, dtype=torch.long))

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return dict(pixel=scalar, region=scalar).

        Args:
            student: projected features (N, C, H, W); resized bilinearly to the teacher's
                H, W if they differ.
            teacher: features (N, C, H, W), no gradient.
            labels: class ids (N, h, w), any resolution; resized nearest to H, W.

        Raises:
            ValueError: if channels or batch sizes do not fit, or a label is neither a class
                nor ignored.
        """
        check_maps('CIRKDMemoryLoss', student, teacher)
        channels = self.pixel_queue.shape[2]
        for name, x in (('student', student), ('teacher', teacher)):
            if x.shape[1] != channels:
                raise ValueError(
                    f'{name} has {x.shape[1]} channels but the queues hold {channels}: set '
                    'teacher_channels to the teacher\'s and project the student to them with '
                    'a connector')
        if not len(student) == len(teacher) == len(labels):
            raise ValueError(f'student, teacher and labels hold {len(student)}, {len(teacher)} '
                             f'and {len(labels)} images: all must come from the same batch')
        with torch.no_grad():
            keys = unit_pixels(teacher, teacher.shape[2:])
            classes = self._labels_at(labels, teacher.shape[2:])
            pixel_slots, region_slots = self._update_and_draw(keys, classes)
        valid = classes >= 0
        if not valid.any() or not student.numel():
            return dict(pixel=zero_of(student), region=zero_of(student))

        anchors = unit_pixels(student, teacher.shape[2:])[valid]
        losses = {}
        for name, queue, slots, weight in (
                ('pixel', self.pixel_queue, pixel_slots, self.pixel_weight),
                ('region', self.region_queue, region_slots, self.region_weight)):
            scale = weight * self.kd_temperature ** 2 / len(anchors)
            losses[name] = bank_kl(anchors, keys[valid], queue[:, slots].flatten(0, 1),
                                   self.tau, scale)
        return losses

    def _labels_at(self, labels: Tensor, size: torch.Size) -> Tensor:
        """Labels (N, h, w) at the features' size, flattened to (N, H * W); ignored: -1."""
        if not math.prod(size):  # no pixel, which interpolate refuses
            return labels.new_zeros(len(labels), 0)
        # Nearest in float64: exact for any label, and the rule of F.interpolate.
        x = F.interpolate(labels[:, None].double(), size=size, mode='nearest')
        x = x.flatten(1).long()
        ignored = (x == -1) | ((x == 255) & (self.num_classes <= 255))
        if self.ignore_index is not None:
            ignored |= x == self.ignore_index
        x = x.masked_fill(ignored, -1)
        wrong = x[(x < -1) | (x >= self.num_classes)]
        if len(wrong):
            raise ValueError(
                f'labels hold the value {int(wrong[0])}: expected class ids 0 to '
                f'{self.num_classes - 1}, 255, -1 or ignore_index={self.ignore_index}; fix the '
                'label mapping of the data set, num_classes or ignore_index')
        return x

    def _update_and_draw(self, keys: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Queue the features of all ranks and draw the slots to contrast.

        Args:
            keys: unit teacher features (N, P, C) of this rank.
            classes: (N, P), -1 where ignored.

        Returns:
            Slots of the pixel queue and of the region queue, equal on all ranks.
        """
        # One entry per image and class present: what this rank has to offer. The pixels of an
        # entry are a run of `order`.
        image = torch.arange(len(classes), device=classes.device)[:, None]
        owner = torch.where(classes >= 0, image * self.num_classes + classes, -1).flatten()
        order = owner.argsort(stable=True)[(owner < 0).sum():]
        entries, counts = owner[order].unique_consecutive(return_counts=True)
        table = torch.stack([entries % self.num_classes, counts], 1)
        if not self.training:
            return self._draw_slots(table)

        if not self._in_step:
            # Ranks may have drawn other queues (mmengine's diff_rank_seed); DDP copies
            # buffers only if told to.
            broadcast(*self.buffers())
            self._in_step = True
        table, offset = gather_rows(table)
        width = min(self.pixel_update_freq, self.pixel_queue.shape[1])
        picks = torch.zeros(len(table), width, dtype=torch.long)
        for k, count in enumerate(table[:, 1].tolist()):
            chosen = torch.randperm(count)[:width]
            picks[k, :len(chosen)] = chosen
        picks = picks.to(table.device)
        slots = self._draw_slots(table)
        broadcast(picks, *slots)

        picks = picks[offset:offset + len(entries)]
        if self.queue_rule == 'class_pure':
            pixels = order[(counts.cumsum(0) - counts)[:, None] + picks]
        else:
            pixels = (entries // self.num_classes * keys.shape[1])[:, None] + picks
        keys = keys.flatten(0, 1)
        pixels = keys[pixels]
        # index_add_ would add in another order each time on a GPU. (unsafe: no check that lengths
        # are positive, which fails where there is none.)
        regions = torch.segment_reduce(keys[order], 'mean', lengths=counts, axis=0, unsafe=True)
        regions = F.normalize(gather_rows(regions)[0], dim=1)
        pixels = F.normalize(gather_rows(pixels)[0], dim=2)
        self._push(table, regions, pixels)
        return slots

    def _push(self, table: Tensor, regions: Tensor, pixels: Tensor) -> None:
        """Queue the entries of all ranks: (E, 2) class and count, (E, C), (E, K, C)."""
        # Positions are followed on the host: one transfer instead of two for each entry.
        at_region, at_pixel = self.region_queue_ptr.tolist(), self.pixel_queue_ptr.tolist()
        for (c, count), region, pixel in zip(table.tolist(), regions, pixels, strict=True):
            at_region[c] = push_region(self.region_queue[c], at_region[c], region)
            at_pixel[c] = push_pixels(self.pixel_queue[c], at_pixel[c], pixel[:count])
        for pointer, values in ((self.region_queue_ptr, at_region),
                                (self.pixel_queue_ptr, at_pixel)):
            pointer.copy_(pointer.new_tensor(values))

    def _draw_slots(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Random slots of both queues; nothing is drawn where nothing is contrasted."""
        if not len(table):
            return table.new_zeros(0), table.new_zeros(0)
        return tuple(torch.randperm(queue.shape[1])[:slots].to(table.device)
                     for queue, slots in ((self.pixel_queue, self.pixel_slots),
                                          (self.region_queue, self.region_slots)))
