"""Export a student through mmdeploy, compare it with PyTorch, and report.

    python tools/deploy.py CONFIG CHECKPOINT [--deploy-cfg NAME] [--input FILE] [--out DIR]
    python tools/deploy.py --demo      (or: make deploy)

CONFIG is a distill config with a checkpoint of that training, or any model's with its weights. The
deploy config follows from the model; --list shows them all. Writes the ONNX file, report.md and
report.json, all at once and only if the exported model computes what PyTorch's does.
"""
import argparse
import os

import _common


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config file, of a distillation or of any model')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file or address')
    parser.add_argument('--deploy-cfg', metavar='NAME',
                        help="a name of --list or a path (default: the model's, for ONNX Runtime)")
    parser.add_argument('--input', metavar='FILE',
                        help='compare on this file instead of the validation set')
    parser.add_argument('--out', metavar='DIR',
                        help='folder for the results (default: work_dirs/deploy/<config name>)')
    parser.add_argument('--samples', type=at_least_one, metavar='N',
                        help='samples of the validation set to compare and to evaluate on '
                        '(default: 16 to compare, all to evaluate)')
    parser.add_argument('--no-metric', action='store_true', help='do not evaluate the models')
    parser.add_argument('--threads', type=at_least_one, metavar='N',
                        help="threads of each model while it is timed (default: PyTorch's)")
    parser.add_argument('--int8', action='store_true',
                        help='write, compare and time an 8 bit form, too')
    parser.add_argument('--fp16', action='store_true',
                        help='write, compare and time a half precision form, too')
    parser.add_argument('--calibration-samples', type=at_least_one, default=64, metavar='N',
                        help='samples of the training set that --int8 finds its ranges with '
                        '(default: 64)')
    parser.add_argument('--demo', action='store_true',
                        help='the student that `make demo` distilled')
    parser.add_argument('--list', action='store_true', help='list the deploy configs, and stop')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args(argv)
    if args.demo and args.config or not (args.demo or args.list or args.checkpoint):
        parser.error('give CONFIG and CHECKPOINT, or --demo')
    return args


def at_least_one(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of at least 1')
    return int(text)


def demo_student(folder='work_dirs/demo'):
    """(config, checkpoint, output folder) of the first distilled student of ``make demo``."""
    run = os.path.join(folder, 'cwd', 'seed0')
    config = os.path.join(run, 'cwd_student.py')
    last = os.path.join(run, 'last_checkpoint')
    if not (os.path.isfile(config) and os.path.isfile(last)):
        raise FileNotFoundError(f'the demo has not run here: {run} holds no distilled student. Run '
                                '`make demo` first')
    with open(last) as file:  # it has the path of the machine that trained
        checkpoint = os.path.join(run, os.path.basename(file.read().strip()))
    return config, checkpoint, os.path.join(folder, 'deploy')


def main(args):
    from mmkd.deploy.command import deploy  # says what is missing
    from mmkd.deploy.export import deploy_config_names
    if args.list:
        print('\n'.join(deploy_config_names()))
        return
    config, checkpoint, out = args.config, args.checkpoint, args.out
    if args.demo:
        config, checkpoint, default = demo_student()
    else:
        default = os.path.join('work_dirs', 'deploy', os.path.splitext(os.path.basename(config))[0])
    deploy(config, checkpoint, out or default, deploy_cfg=args.deploy_cfg, input=args.input,
           samples=args.samples, metric=not args.no_metric, threads=args.threads,
           forms=[kind for kind in ('int8', 'fp16') if getattr(args, kind)],
           calibration_samples=args.calibration_samples)
    print(f'all of it is in {out or default}')


if __name__ == '__main__':
    _common.run(main, parse_args())
