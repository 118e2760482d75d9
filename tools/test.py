"""Evaluate a student (or any model) with a checkpoint.

    python tools/test.py CONFIG CHECKPOINT

With a distill config the student alone is built: neither teacher nor teacher
weights are needed.
"""
import argparse
import os

import _common
from mmengine.runner import Runner

from mmkd.apis import check_datasets, student_only, use_cpu_processes
from mmkd.utils.checkpoint import safe_load
from mmkd.utils.configs import read_config
from mmkd.utils.safe_loading import use_safe_loading


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, of a distillation or of any model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='DIR', help='save the predictions there')
    parser.add_argument('--show-dir', metavar='DIR', help='save painted images there')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    _common.add_run_options(parser)
    return parser.parse_args(argv)


def main(args):
    cfg = student_only(read_config(args.config))
    name = os.path.splitext(os.path.basename(args.config))[0]
    cfg = _common.apply_run_options(cfg, args, name)
    check_datasets(cfg, ['test_dataloader'])
    use_safe_loading()
    safe_load(args.checkpoint)  # told before anything is built
    cfg.load_from = args.checkpoint
    if args.show_dir:
        hooks = cfg.setdefault('default_hooks', {})
        hooks.setdefault('visualization', dict(type='SegVisualizationHook')).update(
            draw=True, interval=1)
        cfg.setdefault('visualizer', dict(type='SegLocalVisualizer', vis_backends=[
            dict(type='LocalVisBackend')])).update(save_dir=args.show_dir)
    if args.tta:
        missing = [key for key in ('tta_pipeline', 'tta_model') if cfg.get(key) is None]
        if missing:
            raise ValueError(f"--tta: the config defines no {' and no '.join(missing)}")
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    if args.out:
        cfg.test_evaluator.update(output_dir=args.out, keep_results=True)
    use_cpu_processes(cfg)
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    _common.run(main, parse_args())
