"""The 3D demo in small, in one process: data, a step of each model and method, metric, pictures."""
import copy
import os

import cv2
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope

from mmkd.apis import compose, recipes
from mmkd.datasets.drawn import write_nuscenes
from mmkd.results.comparison.metric import beside, choose
from mmkd.utils.configs import read_config
from mmkd.visualization import draw_features, draw_predictions
from mmkd.visualization.predictions import predict

from .common import CONFIGS, check_terms, train_one_step

DEMO = os.path.join(CONFIGS, 'demo', 'det3d')
METHODS = sorted({*os.listdir(os.path.join(CONFIGS, 'det3d'))} & recipes('det3d').keys())
#: whose network is the student and whose is the teacher, where LiDAR does not teach cameras
LIDAR, CAMERAS = ('teacher', 'teacher'), ('student', 'student')
PAIRS = dict(sparsekd=LIDAR, pointdistiller=LIDAR, itkd=LIDAR, fd3d=CAMERAS)

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet3d')


@pytest.fixture(scope='module')
def drives(tmp_path_factory):
    return write_nuscenes(str(tmp_path_factory.mktemp('demo') / 'drives'), 1, 1, keyframes=2,
                          width=256, height=144, progress=False)


def config(name, drives):
    cfg = read_config(os.path.join(DEMO, f'{name}.py'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = drives
    cfg.val_evaluator.update(data_root=drives,
                             ann_file=os.path.join(drives, 'nuscenes_infos_val.pkl'))
    init_default_scope(cfg.default_scope)
    return cfg


def train(cfg, model):
    torch.manual_seed(0)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return train_one_step(cfg, model, pseudo_collate([dataset[0], dataset[1]]))


@pytest.fixture(scope='module')
def trained(drives, tmp_path_factory):
    """{name: (config, weights' file, model)} of teacher and student after a step."""
    found = {}
    for name in ('teacher', 'student'):
        cfg = config(name, drives)
        model, logged = train(cfg, cfg.model)
        assert logged['task0.loss_heatmap'] > 0 and logged['task0.loss_bbox'] > 0
        file = str(tmp_path_factory.mktemp(name) / 'weights.pth')
        torch.save(dict(state_dict=model.state_dict()), file)
        found[name] = cfg, file, model.eval()
    return found


def test_teacher_and_student_have_the_same_grid(trained):
    """One map of 64 x 64 cells, with the same channels: losses need no resizing."""
    for _, _, model in trained.values():
        assert model.pts_bbox_head.bbox_coder.out_size_factor == 2
        assert model.pts_bbox_head.shared_conv.in_channels == 96
    assert 'img' not in str(trained['teacher'][0].train_dataloader)


@pytest.mark.parametrize('method', METHODS)
def test_every_method_takes_a_step(method, drives, trained):
    student, teacher = PAIRS.get(method, ('student', 'teacher'))
    cfg = config(student, drives)
    cfg.model = compose(os.path.join(DEMO, f'{student}.py'), os.path.join(DEMO, f'{teacher}.py'),
                        method, trained[teacher][1]).model
    for term in cfg.model.distillations.values():
        if 'depth_bins' in term.loss:  # a loss on depth has those of the view transformer
            term.loss.depth_bins = cfg.model.student.img_view_transformer.depth_bins
    model, logged = train(cfg, cfg.model)
    check_terms(cfg, model, logged, every_part=False)


def test_the_distilled_config_is_the_student_with_a_recipe_of_the_demo(drives):
    student, distilled = config('student', drives), config('distilled', drives)
    assert distilled.model.student == student.model
    assert distilled.max_iters == student.max_iters
    teacher = config('teacher', drives)
    assert distilled.model.teacher.checkpoint.endswith(f'iter_{teacher.max_iters}.pth')
    assert os.path.samefile(distilled.model.teacher.config, os.path.join(DEMO, 'teacher.py'))


def test_the_metric_takes_models_that_have_learnt_nothing(drives, trained):
    """mmdet3d's breaks where no sample has a box, sure or not; a student needs no points."""
    for name, (cfg, _, model) in trained.items():
        model = copy.deepcopy(model)
        model.pts_bbox_head.task_heads[0].heatmap[-1].bias.data -= 20.  # sure of nothing
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        evaluator = Evaluator(cfg.val_evaluator)
        evaluator.dataset_meta = dataset.metainfo
        for i in range(len(dataset)):
            item = dataset[i]
            if name == 'student':
                del item['inputs']['points']
            evaluator.process([predict(model, item)], pseudo_collate([item]))
        metrics = evaluator.evaluate(len(dataset))
        chosen = choose(metrics)
        assert chosen.endswith('/NDS') and 0 <= metrics[chosen] < 0.2
        assert [other.rpartition('/')[2] for other in beside(metrics, chosen)] == ['mAP']


def test_pictures_of_boxes_and_features(trained, tmp_path):
    cfg = trained['student'][0]
    models = {name: (model_cfg, file) for name, (model_cfg, file, _) in trained.items()}
    sheet = cv2.imread(draw_predictions(str(tmp_path / 'boxes.png'), cfg, models, 'val', 2))
    assert sheet.shape[1] == 3 * 646 and sheet.std() > 20
    sheet = cv2.imread(draw_features(str(tmp_path / 'features.png'), cfg, models, 'val', 2))
    assert sheet.shape == (30 + 2 * 366, 3 * 366, 3)
    above, teacher, student = (sheet[30:390, 366 * i:366 * i + 360] for i in range(3))
    assert above.mean() > 200 and teacher.std() > 10 and student.std() > 10

    # What a model reads and the data set does not load is told, and the others are drawn.
    pipeline = cfg.val_dataloader.dataset.pipeline
    blind = cfg.copy()
    blind.val_dataloader.dataset.pipeline = [
        dict(step, keys=['img']) if step.type == 'mmkd.PackBEVInputs' else step
        for step in pipeline]
    fewer = cv2.imread(draw_predictions(str(tmp_path / 'fewer.png'), blind, models, 'val', 1))
    assert (fewer[30:, 646:2 * 646] == 255).all() and fewer[30:, 2 * 646:].std() > 20
    fewer = cv2.imread(draw_features(str(tmp_path / 'fewer.png'), blind, models, 'val', 1))
    assert fewer.shape[1] == 2 * 366
