"""Dense heads of mmdet behind one interface: priors, boxes, assignment, what follows a tower.

For losses and connectors that need more of a detector than tensors. Everything is done by mmdet's
own prior generators, coders, assigners and layers; no other file knows a head's attributes.
Rows of a level are in the order (h, w, anchor).
"""
import torch
from torch import nn

from ..losses.full_precision import full_precision
from ..losses.maps import rows_of
from .mmdet_assignment import assign
from .mmdet_families import FAMILIES, centres, decode, family_of

#: coordinates are kept within this, so that areas of boxes stay finite in float32
FARTHEST = 1e18
LAYERS = ('_init_layers', '_init_cls_convs', '_init_reg_convs', '_init_predictor', 'forward',
          'forward_single')


def dense_head(model):
    """The DenseHead of a detector: its one-stage head, or its RPN.

    Raises:
        ValueError: if it has no head of one of the families, or one with other layers.
    """
    heads = [getattr(model, name, None) for name in ('bbox_head', 'rpn_head')]
    head = next((head for head in heads if isinstance(head, nn.Module)), None)
    family = family_of(head)
    if family is not None:
        changed = family.changed(head, *LAYERS)
        if not changed:
            return DenseHead(head, family)
        raise ValueError(f'{type(head).__name__} has other layers than its family '
                         f'{family.head.__name__} ({", ".join(changed)}): its priors and boxes '
                         'are not known. Use a method that needs only tensors')
    has = 'no dense head' if head is None else type(head).__name__
    raise ValueError(
        f'{type(model).__name__} has {has}, but what is asked for (anchors, boxes, label '
        'assignment) is known of these heads and of subclasses with the same layers: '
        f'{", ".join(family.head.__name__ for family in FAMILIES)}')


class DenseHead:
    """A view of a head, which stays where it is: it is no submodule of whoever holds this.

    A deep copy is the same view; a pickle has no head, so no weights.

    Args:
        head (nn.Module | None): mmdet's head.
        family (Family | None): The one it belongs to.
        data_samples (list, optional): The batch to assign labels for, see ``bind``.
    """

    def __init__(self, head=None, family=None, data_samples=None):
        self._module, self._family, self._samples = head, family, data_samples
        self._assigned = {}

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return DenseHead, ()

    @property
    def _head(self):
        if self._module is None:
            raise ValueError('this view of a head came out of a pickle, which has no head in it: '
                             'build the model again')
        return self._module

    @property
    def name(self):
        return type(self._head).__name__

    @property
    def kind(self):
        """How a box is predicted: 'anchors', 'distributions' or 'points', see Family."""
        return self._family.kind

    @property
    def num_classes(self):
        return self._head.num_classes

    @property
    def sigmoid(self):
        """Whether class scores are sigmoids, else a softmax with the background as last class."""
        return self._head.use_sigmoid_cls

    @property
    def strides(self):
        """One number per level, finest first."""
        return [stride[0] if isinstance(stride, (tuple, list)) else stride
                for stride in self._head.prior_generator.strides]

    def anchors(self, sizes):
        """Anchors of each level.

        Args:
            sizes (list): (H, W) of the map of each level.

        Returns:
            list: (H*W*A, 4), xyxy in pixels, per level.

        Raises:
            ValueError: if the head predicts from points.
        """
        if self.kind == 'points':
            raise ValueError(f'{self.name} has no anchors, it predicts from points: use a '
                             'detector with anchors here (RetinaNet, ATSS, GFL)')
        return self._priors(sizes)

    def points(self, sizes):
        """The place that each position of a level predicts from: (H*W, 2), xy in pixels.

        Of a head with anchors this is the centre that the anchors of a position share.
        """
        priors = self._priors(sizes)
        if self.kind == 'points':
            return priors
        return [centres(anchors[::count]) for anchors, count in
                zip(priors, self._head.prior_generator.num_base_priors, strict=True)]

    def decode(self, reg):
        """Boxes of the raw regression maps.

        Args:
            reg (list): (N, A*D, H, W) per level, as the tap ``reg`` gives them: after the level's
                Scale, before exp, relu or multiplication by the stride.

        Returns:
            list: (N, H*W*A, 4) per level, float32 or wider, xyxy in pixels, not clipped to the
            image. Numbers that overflow end at +-1e18.
        """
        # autocast would sum up the bins of a distribution in half precision
        with full_precision(reg[0]):
            return self._decode(reg)

    def _decode(self, reg):
        head, boxes = self._head, []
        all_priors = self._priors([level.shape[-2:] for level in reg])
        counts = head.prior_generator.num_base_priors
        for x, priors, count, stride in zip(reg, all_priors, counts, self.strides, strict=True):
            x = rows_of(x.to(torch.promote_types(x.dtype, torch.float32)), count)
            if self.kind == 'distributions':
                distances = head.integral(x.flatten(0, 1)).reshape(*x.shape[:2], 4)
                x, priors = distances * stride, centres(priors)
            elif self.kind == 'points' and head.norm_on_bbox:
                x = x.clamp(min=0, max=FARTHEST) * stride
            elif self.kind == 'points':
                x = x.clamp(max=41.).exp()  # exp(41) is 6e17
            boxes.append(decode(head, priors, x).clamp(-FARTHEST, FARTHEST))
        return boxes

    def bind(self, data_samples):
        """This head for one batch: ``assign`` then needs sizes only, and assigns once for each."""
        return DenseHead(self._module, self._family, data_samples)

    def assign(self, sizes, data_samples=None):
        """The head's own label assignment for a batch.

        An RPN samples what it trains on: its assignment is one more draw of that.

        Args:
            sizes (list): (H, W) of the map of each level.
            data_samples (list, optional): The batch; by default the one that ``bind`` was given.

        Returns:
            Assignment: see there.

        Raises:
            ValueError: if the head assigns in another way than its family, or samples have no
                boxes loaded.
        """
        if data_samples is not None:
            return assign(self._head, self._family, sizes, data_samples)
        if self._samples is None:
            raise ValueError('assign needs the batch: give it data_samples, or bind them first')
        key = tuple(tuple(size) for size in sizes)
        if key not in self._assigned:
            self._assigned[key] = assign(self._head, self._family, key, self._samples)
        return self._assigned[key]

    def rest(self, cls, reg, after):
        """Runs the layers of both branches that come after a convolution of their towers.

        Args:
            cls, reg (list): (N, C, H, W) per level, the features of the two towers that have
                passed convolution number ``after`` and its norm, but not its activation; with
                ``after=0`` they are what the head gets, and nothing is activated.
            after (int): 0 to the number of convolutions.

        Returns:
            dict: ``cls``, ``reg`` (raw, as for ``decode``) and, if the head has it,
            ``centerness``: each a list of maps, one per level.

        Raises:
            ValueError: if the head has no towers, or not that many convolutions in them.
        """
        head, family = self._head, self._family
        if not family.towers:
            raise ValueError(f'{self.name} has no towers, one for classes and one for boxes, so '
                             'there are no remaining layers to run. Heads that have: '
                             + ', '.join(f.head.__name__ for f in FAMILIES if f.towers))
        if not 0 <= after <= len(head.cls_convs):
            raise ValueError(f'{self.name} has {len(head.cls_convs)} convolutions in a tower: '
                             f'nothing comes after convolution number {after}')
        cls = [run_tower(head.cls_convs, level, after) for level in cls]
        reg = [run_tower(head.reg_convs, level, after) for level in reg]
        predict_cls, predict_reg = getattr(head, family.cls), getattr(head, family.reg)
        scales = getattr(head, 'scales', None) or [nn.Identity() for _ in reg]
        outputs = dict(cls=[predict_cls(level) for level in cls],
                       reg=[scale(predict_reg(level)) for level, scale in
                            zip(reg, scales, strict=True)])
        if family.centerness:
            on_reg = getattr(head, 'centerness_on_reg', True)
            predict = getattr(head, family.centerness)
            outputs['centerness'] = [predict(level) for level in (reg if on_reg else cls)]
        return outputs

    def _priors(self, sizes):
        """Anchors (H*W*A, 4), or points (H*W, 2), per level."""
        device = next(self._head.parameters()).device
        sizes = [tuple(size) for size in sizes]
        levels = self._head.prior_generator.num_levels
        if len(sizes) != levels:
            raise ValueError(f'{self.name} has {levels} levels (strides {self.strides}), but '
                             f'maps of {len(sizes)} were given: tap all of them')
        return self._head.prior_generator.grid_priors(sizes, device=device)


def run_tower(convs, x, after):
    """What is left of a tower after convolution number ``after`` and its norm."""
    if after and convs[after - 1].with_activation:
        x = convs[after - 1].activate(x.clone())  # it may work in place
    for conv in convs[after:]:
        x = conv(x)
    return x
