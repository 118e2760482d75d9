"""Write the student alone: its weights, and a plain config with nothing of mmkd in it.

    python tools/export_student.py CONFIG CHECKPOINT [--out DIR]

CONFIG is the distill config (the copy in the work dir will do). Writes
<name>-<first 8 of its sha256>.pth and <name>.py, which its library loads; that is
tried in a process without mmkd. Modules of yours that the student needs are named.
"""
import argparse
import glob
import os

import _common
import torch
from mmengine.registry import MODELS, DefaultScope

from mmkd.apis import check_writable, fitting_weights, merge_options, student_only
from mmkd.apis.exporting import names_used, try_without_mmkd
from mmkd.utils.checkpoint import Placeholder, to_plain
from mmkd.utils.configs import read_config
from mmkd.utils.custom_modules import FOLDERS, imports_of
from mmkd.utils.provenance import sha256


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='the distill config')
    parser.add_argument('checkpoint', help='a checkpoint of that training')
    parser.add_argument('--out', metavar='DIR', help="folder (default: the checkpoint's)")
    parser.add_argument('--name', help='name of the files (default: from config and checkpoint)')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    _common.add_cfg_options(parser)
    return parser.parse_args(argv)


def export(read, checkpoint, folder, name):
    """Write ``<name>-<sha>.pth`` and ``<name>.py`` into ``folder``.

    Returns:
        tuple: Path of the weights, path of the config, sha256, and notes on what the config
        needs.
    """
    cfg = student_only(read)
    model_cfg = cfg.model.to_dict()
    if 'pretrained' in model_cfg:
        model_cfg['pretrained'] = None  # built only to compare its keys
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        model = MODELS.build(model_cfg)
    state, loaded = fitting_weights(model, checkpoint, read)
    meta = {key: value for key, value in loaded.get('meta', {}).items()
            if key in ('dataset_meta', 'epoch', 'iter') and not isinstance(value, Placeholder)}
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f'{name}.partial')
    for key, value in state.items():  # in place: beside it are the versions of the layers
        state[key] = value.cpu()
    torch.save(dict(meta=to_plain(meta), state_dict=state), partial)
    sha = sha256(partial)
    weights = os.path.join(folder, f'{name}-{sha[:8]}.pth')
    os.replace(partial, weights)
    config = os.path.join(folder, f'{name}.py')
    for key in ('work_dir', FOLDERS):  # of this machine
        cfg.pop(key, None)
    cfg.load_from, cfg.resume = None, False
    cfg.dump(config)
    return weights, config, sha, drop_imports(cfg, config, weights)


def drop_imports(cfg, config, weights):
    """Write the config again without modules that need mmkd and that the student does not need.

    Returns notes on the modules that it keeps, and on what still needs mmkd.
    """
    failed, problem = try_without_mmkd(config, weights)
    names, imports, notes = imports_of(cfg), cfg.pop('custom_imports', None), []
    kept = []
    for name in names:
        used = ', '.join(names_used(cfg, name))
        if name in failed and not used:
            notes.append(f'left out:  {name} of custom_imports, which cannot be imported without '
                         'mmkd and defines nothing of the student')
            continue
        kept.append(name)
        notes.append(f'it needs:  {name} of custom_imports' + (f' ({used})' if used else ''))
        if name in failed:
            notes[-1] += f', and with it mmkd, which that module imports: {failed[name]}'
    if kept:
        cfg.custom_imports = dict(imports, imports=kept)
    if problem:
        notes.append(f'not free of mmkd: without it the student cannot be loaded: {problem}')
    cfg.dump(config)
    return notes


def main(args):
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options)
    stem = [os.path.splitext(os.path.basename(p))[0] for p in (args.config, args.checkpoint)]
    name = args.name or '_'.join(stem)
    if not args.name and not name.startswith('student'):
        name = f'student_{name}'
    folder = args.out or os.path.dirname(args.checkpoint) or '.'
    check_writable(folder, '--out')
    target = os.path.join(folder, name)
    if os.path.exists(f'{target}.py') and not glob.glob(f'{glob.escape(target)}-????????.pth'):
        raise ValueError(f"{target}.py is there and is no earlier export: choose another --name")
    weights, config, sha, notes = export(cfg, args.checkpoint, folder, name)
    print('\n'.join([f'weights: {weights}', f'sha256:  {sha}', f'config:  {config}', *notes]))


if __name__ == '__main__':
    _common.run(main, parse_args())
