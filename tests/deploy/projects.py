"""A project for each task of tools/deploy.py: a config, a small drawn data set, and weights that
have learned it, since a metric of zero says nothing."""
import copy

from mmengine.config import Config

from mmkd.datasets.drawn import write_coco, write_nuscenes
from tests.deploy.trained import learn
from tests.detectors import small_detector
from tests.detectors3d import centerpoint, fcos3d
from tests.models.bev.rigs import CLASSES, SIZE, tiny_model

CAMERAS = ['CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT',
           'CAM_BACK_RIGHT']
NAMES = ('person', 'car', 'dog')
KEYS = ['gt_bboxes_3d', 'gt_labels_3d']


def loader(**dataset):
    return dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dataset)


def coco(root):
    """The root of a small data set in COCO's layout."""
    return write_coco(str(root), train=1, val=3, width=128, height=96, classes=NAMES,
                      progress=False)


def nuscenes(root):
    """The root of a small data set in nuScenes' layout."""
    return write_nuscenes(str(root), train=1, val=1, keyframes=2, width=176, height=99, sweeps=0,
                          progress=False)


def coco_config(data, kind):
    """Config of a detector; ``learn`` is the pipeline that it learns by."""
    masks = kind == 'mask'
    model = small_detector(kind)
    head = model.test_cfg.get('rcnn', model.test_cfg)
    head.update(max_per_img=20)
    load = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(128, 96), keep_ratio=True)]
    pack = dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip'))
    truth = dict(type='LoadAnnotations', with_bbox=True, with_mask=masks)
    file = f'{data}/annotations/instances_val2017.json'
    return dict(
        default_scope='mmdet', model=model, learn=[load[0], truth, load[1], pack],
        val_dataloader=loader(
            type='CocoDataset', data_root=data, ann_file=file, test_mode=True,
            data_prefix=dict(img='val2017/'), metainfo=dict(classes=NAMES),
            pipeline=[*load, truth, pack]),
        val_evaluator=dict(type='CocoMetric', metric=['bbox'] + ['segm'] * masks, ann_file=file))


def nuscenes_config(data, model, load, kind='LiDAR', learn=(), pack='mmkd.PackBEVInputs',
                    key='img', **dataset):
    """Config of a detector of nuScenes; ``load`` is how a sample is read."""
    file = f'{data}/nuscenes_infos_val.pkl'
    truth = dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True)
    learn = learn or [load[0], truth, *load[1:], dict(type=pack, keys=[key, *KEYS])]
    prefix = dict(pts='samples/LIDAR_TOP', **{name: f'samples/{name}' for name in CAMERAS})
    return dict(
        default_scope='mmdet3d', model=model, learn=learn,
        val_dataloader=loader(
            type='NuScenesDataset', data_root=data, data_prefix=prefix, ann_file=file,
            test_mode=True, metainfo=dict(classes=list(CLASSES)), box_type_3d=kind,
            modality=dict(use_lidar=kind == 'LiDAR', use_camera=key == 'img'),
            pipeline=[*load, dict(type=pack, keys=[key])], **dataset),
        val_evaluator=dict(type='NuScenesMetric', data_root=data, ann_file=file, metric='bbox'))


def voxel_config(data):
    """CenterPoint on pillars of 1 m."""
    area = [-32., -32., -3., 32., 32., 1.]
    model = centerpoint(area=area, tasks=(CLASSES[:4], CLASSES[4:]))
    return nuscenes_config(data, model, [
        dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
        dict(type='PointsRangeFilter', point_cloud_range=area)], key='points')


def bev_config(data, **view):
    """BEVDet for six cameras."""
    return nuscenes_config(data, tiny_model(**view), [
        dict(type='mmkd.LoadCameraImages', cameras=CAMERAS),
        dict(type='mmkd.MultiViewImageAug', size=SIZE, test_mode=True)])


def mono_config(data):
    """FCOS3D."""
    load = [dict(type='LoadImageFromFileMono3D'), dict(type='mmdet.Resize', scale_factor=1.)]
    truth = dict(type='LoadAnnotations3D', with_bbox=True, with_label=True, with_attr_label=True,
                 with_bbox_3d=True, with_label_3d=True, with_bbox_depth=True)
    keys = ['gt_bboxes', 'gt_bboxes_labels', 'attr_labels', 'centers_2d', 'depths']
    model = fcos3d()
    model.test_cfg.update(nms_pre=50, max_per_img=20)
    return nuscenes_config(
        data, model, load, 'Camera', [load[0], truth, load[1], dict(
            type='Pack3DDetInputs', keys=['img', *keys, *KEYS])],
        pack='Pack3DDetInputs', load_type='mv_image_based', use_valid_flag=True)


def write_project(folder, config, rate, iterations=60):
    """``model.py`` and ``model.pth``: a model that has learned the validation set.

    A high ``rate`` of learning leaves the RPN of a Mask R-CNN with dead features, and so with
    scores that are equal to the bit: which of two such proposals survives is nobody's to say.
    """
    cfg = Config(copy.deepcopy(config))
    pipeline = cfg.pop('learn')
    cfg.dump(folder / 'model.py')
    learn(cfg, dict(cfg.val_dataloader.dataset, pipeline=pipeline, test_mode=False), iterations,
          folder / 'model.pth', rate=rate)
