"""What distillation adds to a camera detector's training step, and what masks and samplings cost.

    python benchmarks/bev_step.py [--quick] [--only RECIPE] [--device cuda] [--update]

A CenterPoint of pillars (mmdet3d's, with one head of ten classes as the student has) teaches the
BEVDet-R18 of configs/detectors: six images of 256 x 704, maps of 128 x 128 cells, weights random.
(Beside the step of BEVDet-R50, which is longer, all else weighs less.) Variants in turn in one
process on one thread, process CPU time (CUDA events on a GPU), median of the ratios of each round:
the student's step (forward, backward, SGD), what the taps need of the teacher (voxels and forward
up to its last tap), and the distilled step, in which the functions that make masks, heatmaps and
samplings are timed, too (bev_parts.py). Before that the view transformer against the volume and
index_add (bev_volume.py). Writes benchmarks/results/bev_step.{json,md}.
"""
import copy
import json
import os
import statistics
import sys
import warnings
from dataclasses import dataclass

os.environ.setdefault('OMP_NUM_THREADS', '1')

import bev_volume
import torch
from bev_parts import PARTS, Watch
from bev_scene import BOXES, scene
from bev_table import render
from common import RESULTS, folder_of, head, options, seconds, stem_on, write
from mmengine.registry import init_default_scope
from step import ratio, training_step

from mmkd.apis import compose
from mmkd.registry import MODELS
from mmkd.utils.configs import read_config

CONFIGS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'configs')


@dataclass(frozen=True)
class Setting:
    """Student, teacher, and what a sample is: images, points, half the width of the range."""
    student: str
    teacher: str
    image_size: tuple
    points: int
    reach: float


USUAL = Setting(
    os.path.join(CONFIGS, 'detectors', 'bevdet', 'bevdet_r18_8xb8-24e_nus-256x704.py'),
    'mmdet3d::centerpoint/'
    'centerpoint_pillar02_second_secfpn_head-circlenms_8xb4-cyclic-20e_nus-3d.py',
    (256, 704), 250_000, 51.2)
QUICK = Setting(*(os.path.join(CONFIGS, 'demo', 'det3d', f'{side}.py')
                  for side in ('student', 'teacher')), (128, 256), 20_000, 32.)
#: the teacher's range in a row of its own, metres: maps have to be aligned
OTHER_REACH = 57.6
#: name -> recipe of configs/_base_/recipes/det3d; the dearest masks and samplings first
RECIPES = {
    'distillbev': 'distillbev', 'unidistill': 'unidistill', 'tig_bev': 'tig_bev',
    'distillbev_fp': 'distillbev_fp', 'bevdistill': 'bevdistill',
    'distillbev, other range': 'distillbev', 'cmkd': 'cmkd', 'fsd_bev': 'fsd_bev'}


def build(name, setting):
    """A distiller with random weights (speed does not depend on them)."""
    cfg = compose(setting.student, setting.teacher, f'det3d/{RECIPES[name]}', allow_random=True)
    cfg.model.student.img_backbone.init_cfg = None
    cfg.model.student.img_view_transformer.depth_supervision = None  # the recipe's is measured
    model = read_config(setting.teacher).model
    model.pts_bbox_head.tasks = cfg.model.student.pts_bbox_head.tasks
    if 'other range' in name:
        move(model, OTHER_REACH)
    cfg.model.teacher.config = dict(model=model, default_scope='mmdet3d')
    for term in cfg.model.distillations.values():  # the bins are the student's
        if 'depth_bins' in term.loss:
            term.loss.depth_bins = cfg.model.student.img_view_transformer.depth_bins
    return MODELS.build(cfg.model).train()


def move(model, reach):
    """Give the teacher's config a range of -reach to reach in x and y."""
    area, cells = [-reach, -reach, -5., reach, reach, 3.], round(2 * reach / .2)
    model.data_preprocessor.voxel_layer.point_cloud_range = area
    model.pts_voxel_encoder.point_cloud_range = area
    model.pts_middle_encoder.output_shape = (cells, cells)
    model.pts_bbox_head.bbox_coder.pc_range = area[:2]
    model.train_cfg.pts.update(grid_size=[cells, cells, 40], point_cloud_range=area)
    model.test_cfg.pts.pc_range = area[:2]


def measure(name, setting, batch, device, count):
    """Ratio and seconds of a distilled step, and the part of each kind of work in it."""
    distiller = build(name, setting).to(device)
    data = distiller.data_preprocessor(batch, True)
    data = data['inputs'], data['data_samples']
    teacher, (kept,) = distiller.teachers['teacher'], [distiller._raw_batch]
    step = training_step(distiller, data)
    watches = []

    def needed():
        teacher.read(*kept.preprocess(teacher.model.data_preprocessor, teacher.reads))

    def distilled():
        with Watch(device) as watch:
            step()
        watches.append(watch)

    runs = dict(student=training_step(copy.deepcopy(distiller.student), data), teacher=needed,
                distilled=distilled)
    times = {key: [] for key in runs}
    distilled()  # warms all of it up
    watches.clear()
    for _ in range(count):
        for key, run in runs.items():
            times[key].append(seconds(run, device))
    parts = [watch.seconds for watch in watches]
    whole = times['distilled']
    return dict(
        name=name, rounds=count, step=ratio(times, 'distilled', ['student', 'teacher']),
        seconds={key: statistics.median(values) for key, values in times.items()},
        parts={kind: statistics.median(p[kind] for p in parts) for kind in PARTS},
        share=statistics.median(sum(p.values()) / t for p, t in zip(parts, whole, strict=True)))


def merged(report, device):
    """The recorded report with what ``report`` has in the place of its own, or added to it."""
    recorded = json.loads((RESULTS / f'{stem_on("bev_step", device)}.json').read_text())
    if (recorded['device'], recorded['torch']) != (report['device'], report['torch']):
        raise SystemExit(f"--update: the table was recorded on {recorded['device']}, torch "
                         f"{recorded['torch']}; record it anew")
    rows = {row['name']: row for row in recorded['steps'] + report['steps']}
    again = recorded.get('again', []) + [f"{report['command']}, {report['date']}"]
    return dict(recorded, steps=[rows[name] for name in RECIPES if name in rows], again=again,
                load=max(recorded['load'] or 0, report['load'] or 0) or None)


def main():
    parser = options(__doc__, 'bev_step', 'the models of the 3D demo, one recipe, one round')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--samples', type=int, default=1, help='of a batch (default: 1)')
    parser.add_argument('--update', action='store_true', help='replace the rows of these recipes '
                        'in the recorded table, which says so')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    init_default_scope('mmdet3d')
    setting = QUICK if args.quick else USUAL
    names = [name for name in RECIPES if not args.only or args.only in name]
    if args.quick:
        names, args.rounds = names[:1], 1
    report = dict(head(args.device), samples=args.samples, images=setting.image_size,
                  points=setting.points, boxes=BOXES, steps=[],
                  cuda=torch.version.cuda if args.device == 'cuda' else None)
    report['view'] = bev_volume.measure(args.device, args.quick) if not args.only else None
    batch = scene(args.samples, setting.image_size, setting.points, setting.reach)
    out = RESULTS if args.update else folder_of(args)
    for name in names:
        print(f'{name} ...', file=sys.stderr, flush=True)
        torch.manual_seed(0)
        report['steps'].append(measure(name, setting, batch, args.device, args.rounds))
        # Process CPU time does not count the time of others, but they share caches and clock.
        report['load'] = max(os.getloadavg()) if args.device == 'cpu' else None
        found = merged(report, args.device) if args.update else report
        if out:  # row by row: a run takes its time
            write(found, render(found), out, 'bev_step', args.device)
    print(render(report))


if __name__ == '__main__':
    main()
