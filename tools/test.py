"""Evaluate a student (or any model) with a checkpoint.

    python tools/test.py CONFIG CHECKPOINT

With a distill config the student alone is built: neither teacher nor teacher
weights are needed. A checkpoint that is not exactly of this model is refused.
Log and results go into a dated folder in the work dir; what training wrote
there stays as it is.
"""
import argparse
import inspect
import os

import _common
from mmengine.registry import HOOKS, METRICS, DefaultScope

from mmkd.apis import (
    build_model,
    build_runner,
    check_datasets,
    check_writable,
    fitting_weights,
    student_only,
    use_cpu_processes,
)
from mmkd.utils.configs import read_config, type_name

#: what paints predictions in each library, where a config says nothing: hook, visualizer
PAINTERS = dict(mmseg=('SegVisualizationHook', 'SegLocalVisualizer'),
                mmdet=('DetVisualizationHook', 'DetLocalVisualizer'))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, of a distillation or of any model')
    parser.add_argument('checkpoint', help='checkpoint file or address')
    parser.add_argument('--out', metavar='DIR', help='save the predictions there')
    parser.add_argument('--show-dir', metavar='DIR', help='save painted images there')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    _common.add_run_options(parser)
    return parser.parse_args(argv)


def use_tta(cfg):
    missing = [key for key in ('tta_pipeline', 'tta_model') if cfg.get(key) is None]
    if missing:
        raise ValueError(f"--tta: the config defines no {' and no '.join(missing)}")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def options_of(cfg, registry, part):
    """The arguments of a config's hook or metric."""
    kind = part.get('type')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')), \
            registry.switch_scope_and_registry(part.get('_scope_')) as scoped:
        kind = scoped.get(kind) if isinstance(kind, str) else kind
    return inspect.signature(kind).parameters if kind else {}


def save_predictions(cfg, folder):
    """Let each metric write the predictions into ``folder``, or else write them all as they are."""
    check_writable(folder, '--out')
    metrics = cfg.test_evaluator
    metrics = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    for metric in metrics:
        options = options_of(cfg, METRICS, metric)
        if 'output_dir' in options:
            metric.update(output_dir=folder, keep_results=True)
        elif 'outfile_prefix' in options:
            metric.update(outfile_prefix=os.path.join(folder, 'predictions'))
    if not any('output_dir' in metric or 'outfile_prefix' in metric for metric in metrics):
        metrics.append(dict(type='DumpResults',
                            out_file_path=os.path.join(folder, 'predictions.pkl')))
    cfg.test_evaluator = metrics


def need_own_names(contents, option):
    """Refuse pictures of which one would be written over the other: the libraries name what they
    write after the file alone, without its folders."""
    seen = {}
    for path in (path for found in contents for path in found.pictures):
        name = os.path.splitext(os.path.basename(path))[0]
        if seen.setdefault(name, path) != path:
            raise ValueError(f'{option}: {seen[name]} and {path} would be written to one file; '
                             'test one folder after the other (test_dataloader.dataset.'
                             'data_prefix)')


def paint(cfg, folder):
    """Let the visualization hook save every picture into ``folder``."""
    check_writable(folder, '--show-dir')
    # Built anew: what setdefault() of a ConfigDict returns is a copy.
    hooks, visualizer = dict(cfg.get('default_hooks') or {}), dict(cfg.get('visualizer') or {})
    stock_hook, stock_visualizer = PAINTERS.get(cfg.get('default_scope'), PAINTERS['mmseg'])
    hook = dict(hooks.get('visualization') or dict(type=stock_hook), draw=True, interval=1)
    if 'test_out_dir' in options_of(cfg, HOOKS, hook):  # else it would only number the pictures
        hook['test_out_dir'] = os.path.abspath(folder)
    hooks['visualization'] = hook
    if type_name(visualizer, 'Visualizer') == 'Visualizer':
        visualizer['type'] = stock_visualizer  # mmengine's own paints no prediction
    backends = list(visualizer.get('vis_backends') or [])
    if not any('LocalVisBackend' in str(backend.get('type')) for backend in backends):
        backends.append(dict(type='LocalVisBackend'))
    visualizer.update(vis_backends=backends, save_dir=folder)
    cfg.default_hooks, cfg.visualizer = hooks, visualizer


def main(args):
    read = read_config(args.config)
    name = os.path.splitext(os.path.basename(args.config))[0]
    cfg = _common.apply_run_options(student_only(read), args, name)
    contents = check_datasets(cfg, ['test_dataloader'])
    for option in ('show_dir', 'out'):
        if getattr(args, option):
            need_own_names(contents, f"--{option.replace('_', '-')}")
    if args.show_dir:
        paint(cfg, args.show_dir)
    if args.out:
        save_predictions(cfg, args.out)
    if args.tta:
        use_tta(cfg)
    use_cpu_processes(cfg)
    model = build_model(cfg)
    fitting_weights(model.module if args.tta else model, args.checkpoint, read)
    cfg.load_from, cfg.resume = args.checkpoint, False
    build_runner(cfg, model, record=False).test()


if __name__ == '__main__':
    _common.run(main, parse_args())
