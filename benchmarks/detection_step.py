"""What distillation adds to a detector's training step, against student and teacher alone.

    python benchmarks/detection_step.py [--quick] [--only RECIPE ...]

A ResNet-101 detector teaches a ResNet-50 one of the same family (the pairs most methods published)
on 2 x 3 x 128 x 160, one thread, variants in turn in one process, process CPU time, median of the
ratios of each round. Writes
benchmarks/results/detection_step.{json,md}.
"""
import argparse
import copy
import datetime
import json
import os
import platform
import statistics
import sys
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from mmengine.registry import init_default_scope
from step import ratio, rounds, training_step

from mmkd.apis import compose
from mmkd.registry import MODELS
from mmkd.utils.configs import read_config

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results', 'detection_step')
DETECTORS = dict(
    retinanet='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    gfl='mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    faster='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
_ONE_STAGE = ['pkd', 'cwd', 'cwd_neck', 'mgd', 'fgd', 'dist', 'fgfi', 'defeat', 'frs', 'pgd']
#: detector -> recipes (of configs/_base_/recipes/det)
RECIPES = dict(
    retinanet=[*_ONE_STAGE, 'crosskd'],
    gfl=[*_ONE_STAGE, 'ld', 'crosskd_gfl', 'bckd'],
    faster=['pkd', 'cwd_neck', 'mgd_two_stage', 'fgd_two_stage', 'fbkd', 'dist_two_stage', 'fgfi',
            'defeat_two_stage', 'frs_two_stage'])
#: the most that a step may take, of student step + needed teacher
TARGETS = dict(pkd=1.03, cwd=1.03, cwd_neck=1.03, crosskd=1.15, crosskd_gfl=1.15)


def build(detector, recipe):
    """A distiller with random weights (speed does not depend on them)."""
    cfg = compose(DETECTORS[detector], DETECTORS[detector], f'det/{recipe}', allow_random=True)
    cfg.model.student.backbone.init_cfg = None
    teacher = read_config(DETECTORS[detector])
    teacher.model.backbone.update(depth=101, init_cfg=None)
    cfg.model.teacher.config = dict(model=teacher.model, default_scope='mmdet')
    return MODELS.build(cfg.model).train()


def measure(detector, recipe, size, count):
    """Ratio and seconds of a distilled step."""
    distiller = build(detector, recipe)
    teacher = distiller.teachers['teacher']
    batch = teacher.library.make_batch(distiller.student, size)
    alone = copy.deepcopy(distiller.student)
    shared = rois_of(distiller, batch)

    def read():
        return teacher.read(*batch, shared)

    times = rounds({'student': training_step(alone, batch), 'needed teacher': read,
                    'distilled': training_step(distiller, batch)}, count)
    return dict(detector=detector, recipe=recipe,
                step=ratio(times, 'distilled', ['student', 'needed teacher']),
                seconds={name: statistics.median(values) for name, values in times.items()})


def rois_of(distiller, batch):
    """What the student's training gives the teacher's forward (RoIs), of one step."""
    teacher, found = distiller.teachers['teacher'], {}
    read = teacher.read
    teacher.read = lambda *given: found.update(given[2]) or read(*given)
    distiller(*batch, mode='loss')
    del teacher.read
    return found


def table(results):
    lines = ['| detector | recipe | student step, s | needed teacher, s | distilled step, s | '
             'distilled / (student + needed teacher) | target |', '|---|---|---|---|---|---|---|']
    for row in results['steps']:
        target = TARGETS.get(row['recipe'])
        seconds = ' | '.join(f'{row["seconds"][name]:.2f}'
                             for name in ('student', 'needed teacher', 'distilled'))
        lines.append(f"| {row['detector']} | {row['recipe']} | {seconds} | {row['step']:.3f} | "
                     f"{f'<= {target}' if target else ''} |")
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a smoke run; writes nothing')
    parser.add_argument('--only', nargs='+', metavar='RECIPE', help='these; writes nothing')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    init_default_scope('mmdet')
    size, count = ((64, 64), 1) if args.quick else ((128, 160), 3)
    results = dict(
        command='python ' + ' '.join(sys.argv), torch=torch.__version__,
        machine=f'{platform.machine()}, one thread', date=str(datetime.date.today()),
        size=[2, 3, *size], rounds=count, steps=[])
    for detector, recipes in RECIPES.items():
        for recipe in recipes:
            if args.quick and recipe != recipes[0] or args.only and recipe not in args.only:
                continue
            results['steps'].append(measure(detector, recipe, size, count))
            print(table(dict(steps=results['steps'][-1:])).splitlines()[-1], flush=True)
    if not args.quick and not args.only:
        with open(f'{RESULTS}.json', 'w') as file:
            json.dump(results, file, indent=1)
        with open(f'{RESULTS}.md', 'w') as file:
            file.write(f"{table(results)}\n\n`{results['command']}`, torch {results['torch']}, "
                       f"{results['machine']}, {results['date']}\n")


if __name__ == '__main__':
    main()
