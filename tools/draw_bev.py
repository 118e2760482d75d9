"""Draw the boxes that a camera detector predicts: into the images of all cameras and from above.

    python tools/draw_bev.py CONFIG CHECKPOINT --out DIR [--pictures 4] [--score 0.3]

Pictures are spread evenly over the config's test set. With a distill config the student is drawn.
"""
import argparse
import os

import _common
import numpy as np
from mmengine.registry import DATASETS, init_default_scope

from mmkd.apis import check_datasets, check_writable, merge_options, student_only
from mmkd.utils.configs import read_config
from mmkd.visualization import draw_sample
from mmkd.visualization.predictions import load_model, predict


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='DIR', required=True, help='where the pictures go')
    parser.add_argument('--pictures', type=int, default=4, help='how many (default: 4)')
    parser.add_argument('--score', type=float, default=.3,
                        help='predictions above it are drawn (default: 0.3)')
    _common.add_cfg_options(parser)
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def sweep_of(sample):
    """(P, C) the points of a sample's LiDAR file, None where it has none."""
    path, columns = sample.get('lidar_path'), sample.get('num_pts_feats', 5)
    if not path or not os.path.isfile(path):
        return None
    return np.fromfile(path, dtype=np.float32).reshape(-1, columns)


def main(args):
    cfg = student_only(read_config(args.config))
    merge_options(cfg, args.cfg_options)
    check_writable(args.out, '--out')
    check_datasets(cfg, ['test_dataloader'])
    view = cfg.model.get('img_view_transformer')
    if view is None:
        raise ValueError(f'{args.config}: the model has no img_view_transformer; draw_bev draws '
                         'mmkd.BEVDet and its like')
    model = load_model(cfg, args.checkpoint)
    init_default_scope(cfg.get('default_scope', 'mmdet3d'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    os.makedirs(args.out, exist_ok=True)
    for index in np.linspace(0, len(dataset) - 1, min(args.pictures, len(dataset))).astype(int):
        item = dataset[int(index)]
        predicted = predict(model, item).pred_instances_3d
        print(draw_sample(os.path.join(args.out, f'{index:05d}.png'), item, view.point_cloud_range,
                          predicted, args.score, sweep_of(item['data_samples'])))


if __name__ == '__main__':
    _common.run(main, parse_args())
