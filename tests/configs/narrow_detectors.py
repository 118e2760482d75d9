"""mmdet's detectors without their width, and with all else that a config says of them.

(``tests.detectors`` has smaller ones, which are alike except for neck and head.)
"""
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
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
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
    backbone.update(depth=min(backbone.depth, 50), stem_channels=4, base_channels=4)
    if backbone.type == 'ResNeXt':
        backbone.update(groups=2, base_width=4)
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
    widths = dict(bbox_roi_extractor=['out_channels'], mask_roi_extractor=['out_channels'],
                  bbox_head=['in_channels', 'fc_out_channels'],
                  mask_head=['in_channels', 'conv_out_channels'])
    for key, names in widths.items():
        parts = roi_head.get(key) or []
        for part in parts if isinstance(parts, list) else [parts]:
            part.update(dict.fromkeys(names, WIDTH))


def _sample_less(train_cfg):
    stages = train_cfg.rcnn if isinstance(train_cfg.rcnn, list) else [train_cfg.rcnn]
    for part in [train_cfg.rpn, *stages]:
        part.sampler.num = 32
    train_cfg.rpn_proposal.update(nms_pre=64, max_per_img=32)
