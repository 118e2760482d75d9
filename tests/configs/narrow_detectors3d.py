"""Detectors of mmdet3d and mmkd without their width, on fewer cells, with all else that a config
says of them."""
import copy

#: part of the channels that is left
PART = 8


def narrow(model):
    """The same CenterPoint on pillars, BEVDet or BEVFusion, of an eighth of the width and with
    random weights; a copy."""
    model = copy.deepcopy(model)
    if 'img_backbone' in model:
        _camera(model)
    else:
        _bev(model.pts_backbone, model.pts_neck)
        _head(model.pts_bbox_head, model.pts_neck)
    if 'pts_voxel_encoder' in model:
        _pillars(model)
    return model


def _pillars(model):
    width = _less(model.pts_voxel_encoder.feat_channels)
    model.pts_voxel_encoder.feat_channels = width
    model.pts_middle_encoder.in_channels = width[-1]
    model.pts_backbone.in_channels = width[-1]
    model.data_preprocessor.voxel_layer.max_voxels = (2000, 2000)
    if 'pts_fusion_layer' in model:
        _stages(model.pts_backbone)
        model.pts_fusion_layer.in_channels = \
            model.img_view_transformer.out_channels + model.pts_backbone.out_channels[-1]


def _camera(model):
    _bev(model.img_bev_encoder_backbone, model.img_bev_encoder_neck)
    _head(model.pts_bbox_head, model.img_bev_encoder_neck)
    model.img_backbone.update(base_channels=8, stem_channels=8, init_cfg=None)
    model.img_neck.in_channels = _less(model.img_neck.in_channels)
    if model.img_view_transformer.get('depth_net'):
        model.img_view_transformer.depth_net.mid_channels = 16


def _stages(backbone):
    backbone.update(out_channels=_less(backbone.out_channels),
                    layer_nums=[1] * len(backbone.layer_nums))


def _bev(backbone, neck):
    _stages(backbone)
    neck.update(in_channels=list(backbone.out_channels), out_channels=_less(neck.out_channels))


def _head(head, neck):
    head.update(in_channels=sum(neck.out_channels), share_conv_channel=8)
    head.separate_head.head_conv = 8
    if 'dcn_config' in head.separate_head:
        head.separate_head.dcn_config.update(in_channels=8, out_channels=8)


def _less(channels):
    return [number // PART for number in channels]
