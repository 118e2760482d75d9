"""The families of mmdet's dense heads whose priors, boxes and labels mmkd knows."""
from typing import NamedTuple

from mmdet.models.dense_heads import ATSSHead, FCOSHead, GFLHead, RetinaHead, RPNHead
from mmdet.structures.bbox import get_box_tensor


class Family(NamedTuple):
    """What differs between the heads.

    Attributes:
        head: mmdet's class; a subclass that has the same layers belongs to the family.
        kind: 'anchors', deltas of one or more anchors; 'distributions', bins per side of a box,
            seen from the centre of one anchor; 'points', distances from a point.
        cls, reg, centerness: names of the layers that predict, None for one that there is not.
        towers: whether each of the two branches has a tower of convolutions of its own.
    """
    head: type
    kind: str
    cls: str
    reg: str
    centerness: str | None = None
    towers: bool = True

    def changed(self, head, *names):
        """Those methods ``names`` of ``head`` that are not those of the family."""
        return [name for name in names
                if getattr(type(head), name, None) is not getattr(self.head, name, None)]


FAMILIES = (
    Family(RetinaHead, 'anchors', 'retina_cls', 'retina_reg'),
    Family(ATSSHead, 'anchors', 'atss_cls', 'atss_reg', 'atss_centerness'),
    Family(GFLHead, 'distributions', 'gfl_cls', 'gfl_reg'),
    Family(FCOSHead, 'points', 'conv_cls', 'conv_reg', 'conv_centerness'),
    Family(RPNHead, 'anchors', 'rpn_cls', 'rpn_reg', towers=False))


def family_of(head):
    """The Family of ``head``, None if it belongs to none."""
    return next((family for family in FAMILIES if isinstance(head, family.head)), None)


def decode(head, priors, targets):
    """Boxes (N, P, 4), xyxy, of what ``head`` learns (N, P, D) at priors (P or N*P, 2 or 4)."""
    images = len(targets)
    priors = priors if len(priors) == targets.shape[:2].numel() else priors.repeat(images, 1)
    boxes = head.bbox_coder.decode(priors, targets.flatten(0, 1))
    return get_box_tensor(boxes).reshape(images, -1, 4)


def centres(boxes):
    """(..., 4) xyxy to (..., 2) xy."""
    return (boxes[..., 2:] + boxes[..., :2]) / 2
