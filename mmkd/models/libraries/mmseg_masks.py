"""Heads of mmseg that classify masks, not pixels: Mask2Former, MaskFormer, SAN.

They give class scores (N, Q, C + 1) and mask logits (N, Q, H, W) for Q queries, once per
decoder layer; the last layer's count. No module of theirs gives a class map, so that the
semantic names that need one are derived here, from what the head gives.
"""
import torch


def class_map(scores, masks):
    """The log of the class map that these heads predict.

    Per pixel and class: the softmax over the classes (and "no object", which is then
    dropped) times the sigmoid of the mask, summed over the queries, as the heads'
    ``predict`` does, but at the masks' own resolution; then the logarithm. Its softmax over
    the classes is the class map, normalised, and its argmax the prediction.

    Args:
        scores (Tensor): (N, Q, C + 1), the last class is "no object".
        masks (Tensor): (N, Q, H, W).

    Returns:
        Tensor: (N, C, H, W), float32 or wider.
    """
    with torch.autocast(masks.device.type, enabled=False):
        dtype = torch.promote_types(masks.dtype, torch.float32)
        classes = scores.to(dtype).softmax(-1)[..., :-1]
        value = torch.einsum('bqc,bqhw->bchw', classes, masks.to(dtype).sigmoid())
        return value.clamp_min(torch.finfo(dtype).tiny).log()


def class_map_of_queries(given):
    """Of (class scores per layer, masks per layer), what Mask2Former and MaskFormer give."""
    scores, masks = given
    return class_map(scores[-1], masks[-1])


def class_map_of_proposals(given):
    """Of (masks per layer, class scores per layer), what SAN gives."""
    masks, scores = given
    return class_map(scores[-1], masks[-1])


def queries(value):
    """What a layer gives for each query, as a map of one column: (N, C, Q, 1).

    Args:
        value (Tensor): (N, Q, C), or (L, N, Q, C) for L decoder layers.
    """
    value = value[-1] if value.ndim == 4 else value
    return value.transpose(1, 2).unsqueeze(-1)


def last_scores(given):
    """SAN's class scores by query, (N, C + 1, Q, 1)."""
    return queries(given[1][-1])
