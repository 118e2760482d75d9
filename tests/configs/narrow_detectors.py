"""mmdet's detectors with their structure and without their width, and a batch for them."""
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

SIZE = (96, 128)
WIDTH = 16
GROUPS = dict(type='GN', num_groups=4, requires_grad=True)
#: heads that have a GroupNorm unless they are told otherwise
NORMED = ('GFLHead', 'ATSSHead', 'FCOSHead', 'RepPointsHead', 'SOLOHead')


def narrow(model):
    """The same detector, narrow and with random weights; in place."""
    _forget_weights(model)
    stages = _backbone(model.backbone)
    _neck(model.neck, stages)
    if 'data_preprocessor' in model:
        model.data_preprocessor.pop('batch_augments', None)
    for key in ('bbox_head', 'rpn_head', 'mask_head'):
        if key in model:
            _dense(model[key])
    if 'roi_head' in model:
        _rois(model.roi_head)
        _sample_less(model.train_cfg)
    return model


def _forget_weights(node):
    if isinstance(node, dict):
        if (node.get('init_cfg') or {}) and isinstance(node['init_cfg'], dict) \
                and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
        for value in node.values():
            _forget_weights(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _forget_weights(value)


def _backbone(backbone):
    """Channels of its stages."""
    if backbone.type == 'SwinTransformer':
        backbone.update(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))
        return [8, 16, 32, 64]
    if backbone.type == 'CSPDarknet':
        backbone.update(widen_factor=0.125, deepen_factor=0.33)
        return [32, 64, 128]
    backbone.update(depth=min(backbone.depth, 50), base_channels=4)
    if backbone.type == 'ResNeXt':
        backbone.update(groups=2, base_width=4)
    else:
        backbone.stem_channels = 4
    if backbone.type == 'ResNeXt':
        backbone.stem_channels = 4
    return [4 * 2 ** stage * (4 if backbone.depth >= 50 else 1) for stage in range(4)]


def _neck(neck, stages):
    neck.update(in_channels=stages[-len(neck.in_channels):], out_channels=WIDTH)
    if 'num_csp_blocks' in neck:
        neck.num_csp_blocks = 1
    if (neck.get('norm_cfg') or {}).get('type') == 'GN':
        neck.norm_cfg = dict(GROUPS)


def _dense(head):
    head.in_channels = WIDTH
    for key in ('feat_channels', 'point_feat_channels'):
        if key in head:
            head[key] = WIDTH
    if head.type in NORMED:
        head.norm_cfg = dict(GROUPS)
    if head.type == 'SOLOHead':
        head.num_grids = [8, 6, 4, 3, 2]


def _rois(roi_head):
    for key, extra in (('bbox_roi_extractor', {}), ('mask_roi_extractor', {}),
                       ('bbox_head', dict(in_channels=WIDTH, fc_out_channels=WIDTH)),
                       ('mask_head', dict(in_channels=WIDTH, conv_out_channels=WIDTH))):
        parts = roi_head.get(key) or []
        for part in parts if isinstance(parts, list) else [parts]:
            part.update(extra or dict(out_channels=WIDTH))


def _sample_less(train_cfg):
    stages = train_cfg.rcnn if isinstance(train_cfg.rcnn, list) else [train_cfg.rcnn]
    for part in [train_cfg.rpn, *stages]:
        part.sampler.num = 32
    train_cfg.rpn_proposal.update(nms_pre=64, max_per_img=32)


def batch_of(num_classes):
    """Two images, one with two objects and one with one, as mmdet's pipelines give them."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for boxes in ([[4., 6., 40., 60.], [50., 20., 120., 90.]], [[10., 30., 80., 86.]]):
        inputs.append(torch.randint(0, 256, (3, *SIZE), generator=generator, dtype=torch.uint8))
        boxes = torch.tensor(boxes)
        masks = torch.zeros(len(boxes), *SIZE, dtype=torch.uint8)
        for mask, box in zip(masks, boxes.int().tolist(), strict=True):
            mask[box[1]:box[3], box[0]:box[2]] = 1
        sample = DetDataSample(metainfo=dict(
            img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE,
            scale_factor=(1., 1.), flip=False))
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.arange(len(boxes)) % num_classes,
            masks=BitmapMasks(masks.numpy(), *SIZE))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
