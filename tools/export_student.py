"""Write the student alone: its weights, and a plain config with nothing of mmkd in it.

    python tools/export_student.py CONFIG CHECKPOINT [--out DIR]

CONFIG is the distill config (the copy in the work dir will do). Writes
<name>-<first 8 of its sha256>.pth and <name>.py, which stock mmseg loads.
"""
import argparse
import hashlib
import os

import _common
import torch
from mmengine.registry import MODELS, DefaultScope

from mmkd.apis import merge_options, student_only
from mmkd.utils.checkpoint import Placeholder, safe_load, to_plain
from mmkd.utils.configs import read_config
from mmkd.utils.hints import did_you_mean


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


def export(cfg, checkpoint, folder, name):
    """Write ``<name>-<sha>.pth`` and ``<name>.py`` into ``folder`` and return their paths."""
    cfg = student_only(cfg)
    loaded = safe_load(checkpoint)
    state = {key: value for key, value in loaded.get('state_dict', loaded).items()
             if not key.startswith('distiller.')}
    model_cfg = cfg.model.to_dict()
    if 'pretrained' in model_cfg:
        model_cfg['pretrained'] = None  # built only to compare its keys
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        model = MODELS.build(model_cfg)
    # Strictly: a prefix too many, and a random student would be shipped.
    own = model.state_dict()
    missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
    if missing or extra:
        raise ValueError(
            f'{checkpoint!r} does not hold exactly the student of this config: '
            f'{len(missing)} keys missing ({missing[:5]}), {len(extra)} too many ({extra[:5]})'
            + (did_you_mean(missing[0], extra) if missing and extra else ''))
    model.load_state_dict(state)
    meta = {key: value for key, value in loaded.get('meta', {}).items()
            if key in ('dataset_meta', 'epoch', 'iter') and not isinstance(value, Placeholder)}
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f'{name}.partial')
    torch.save(dict(meta=to_plain(meta), state_dict={k: v.cpu() for k, v in state.items()}),
               partial)
    with open(partial, 'rb') as file:
        sha = hashlib.sha256(file.read()).hexdigest()
    weights = os.path.join(folder, f'{name}-{sha[:8]}.pth')
    os.replace(partial, weights)
    config = os.path.join(folder, f'{name}.py')
    cfg.pop('work_dir', None)
    cfg.load_from, cfg.resume = None, False
    cfg.dump(config)
    return weights, config, sha


def main(args):
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options)
    stem = [os.path.splitext(os.path.basename(p))[0] for p in (args.config, args.checkpoint)]
    weights, config, sha = export(cfg, args.checkpoint,
                                  args.out or os.path.dirname(args.checkpoint) or '.',
                                  args.name or f'student_{stem[0]}_{stem[1]}')
    print(f'weights: {weights}\nsha256:  {sha}\nconfig:  {config}')


if __name__ == '__main__':
    _common.run(main, parse_args())
