"""tools/report.py on detection: several metrics, epochs, rows that no config is for."""
import hashlib
import json
import os
import shutil

import pytest
import torch
from mmengine.config import Config

from mmkd.results.metafiles import read_metafile, zoo_indices_read_once

from .test_report import ROOT, replace, report

METHOD = 'configs/det/fgfi'
COCO = 'fgfi_gfl-r101_gfl-r50_8xb2-1x_coco'
VOC = 'fgfi_faster-rcnn-r101_faster-rcnn-r50_2xb8-1x_voc0712'
META = f'{METHOD}/metafile.yml'
ROWS = 'configs/det/published_rows.csv'

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


@pytest.fixture(scope='module')
def template(tmp_path_factory):
    """A repository with one method of detection and its front page, all in order."""
    root = tmp_path_factory.mktemp('repo')
    shutil.copytree(os.path.join(ROOT, 'configs', '_base_'), root / 'configs' / '_base_')
    shutil.copytree(os.path.join(ROOT, METHOD), root / METHOD)
    with open(os.path.join(ROOT, ROWS), encoding='utf-8') as file:
        lines = file.read().splitlines()
    rows = [lines[0], *(line for line in lines if line.startswith('FGFI,'))]
    (root / ROWS).write_text('\n'.join(rows) + '\n')
    (root / 'README.md').write_text('# x\n<!-- methods:begin -->\n<!-- methods:end -->\n')
    code, text = report(root)
    assert code == 0, text
    return root


@pytest.fixture
def repo(template, tmp_path):
    return shutil.copytree(template, tmp_path / 'repo')


def test_a_page_has_every_metric_and_the_rows_left_out(repo):
    table = (repo / METHOD / 'README.md').read_text()
    assert '| COCO | box AP | GFL-R101 → GFL-R50 | - | 40.1 | 41.1 | +1.0 | 44.7 |' in table
    assert ('| mAP | Faster-R-CNN-R101 → Faster-R-CNN-R50 | 82.27 | 80.52 | 81.04 | +0.52 | - |'
            in table)
    assert '→ Faster-R-CNN-VGG11 | 70.10 | 59.60 | 67.60 | +8.00 | mmdet has no' in table
    assert '| neck | COCO, Pascal VOC 2007 | 2 | 0 of 2 |' in (repo / 'README.md').read_text()


def test_a_metafile_has_no_path_of_the_machine(repo):
    assert str(repo) not in (repo / META).read_text()
    teachers = {model['Name']: model['Metadata']['Teacher']
                for model in read_metafile(repo / META)['Models']}
    assert teachers[VOC] == dict(
        Config='configs/_base_/teachers/faster-rcnn-r101_2xb8-1x_voc0712.py',
        Weights='work_dirs/faster-rcnn-r101_2xb8-1x_voc0712/epoch_4.pth')
    assert teachers[COCO]['Metrics'] == {'box AP': 44.7}


@pytest.mark.parametrize('file, old, new, said', [
    (META, ' box AP (published): 41.1', ' box AP (published): 41.2',
     '40.1 -> 41.2, but configs/det/published_rows.csv says 40.1 -> 41.1'),
    (META, 'Teacher mAP (published): 82.27', 'Teacher mAP (published): 82.2', 'no (other) row'),
    (META, '          box AP (published)', '          AP (published)', 'is needed, not'),
    (META, '        Dataset: COCO', '        Dataset: VOC', 'is not about VOC'),
    (META, 'Ours: not run', 'Ours: {mask AP: 41.5}', "neither 'not run' nor a measured box AP"),
    (META, 'Epochs: 12', 'Epochs: 24', f'{META} is not what'),
    (META, 'box AP: 44.7', 'box AP: 44.9', f'{META} is not what'),
    (ROWS, 'GFL-R50,40.1,41.1,', 'GFL-R50,40.1,41.1,no time', 'says why there is no config for it'),
    (ROWS, '67.60,mmdet has no Faster R-CNN with VGG', '67.60,', 'has no config'),
    (ROWS, '67.60', '67.50', f'{METHOD}/README.md is not what'),
])
def test_check_names_what_disagrees(repo, file, old, new, said):
    replace(repo / file, old, new)
    code, text = report(repo, '--check')
    assert code == 1 and said in text, text
    assert 'Traceback' not in text


@pytest.fixture
def work_dir(repo):
    """What a training of COCO by epochs on 8 GPUs leaves, cut down to what is read."""
    folder = repo / 'work_dirs' / COCO
    run = folder / '20250102_030405'
    os.makedirs(run / 'vis_data')
    Config.fromfile(repo / METHOD / f'{COCO}.py').dump(run / 'vis_data' / 'config.py')
    scores = {11: 0.413, 12: 0.411}
    (run / 'vis_data' / 'scalars.json').write_text(''.join(
        json.dumps({'coco/bbox_mAP': score, 'step': epoch}) + '\n'
        for epoch, score in scores.items()))
    (run / '20250102_030405.log').write_text('System environment:\n    GPU number: 8\n')
    for epoch in scores:
        torch.save(dict(meta=dict(seed=7, epoch=epoch, iter=epoch * 7330), state_dict={}),
                   folder / f'epoch_{epoch}.pth')
    return folder


@pytest.mark.parametrize('options, score, epoch, kind', [
    ((), 41.1, 12, 'last'), (('--best',), 41.3, 11, 'best')])
def test_record_reads_epochs(repo, work_dir, options, score, epoch, kind):
    code, text = report(repo, '--record', repo / METHOD / f'{COCO}.py', work_dir, '--git-sha',
                        'a' * 40, *options)
    assert code == 0 and f'{COCO}: box AP {score}' in text, text
    digest = hashlib.sha256((work_dir / f'epoch_{epoch}.pth').read_bytes()).hexdigest()
    ours = next(model['Results'][0]['Ours'] for model in read_metafile(repo / META)['Models']
                if model['Name'] == COCO)
    assert ours == {'box AP': score, 'Evidence': {
        'Log': f'work_dirs/{COCO}/20250102_030405/20250102_030405.log', 'Git SHA': 'a' * 40,
        'Seed': 7, 'Checkpoint SHA256': digest, 'Epoch': epoch, 'Evaluation': kind}}
    assert f'{score} (seed 7, `aaaaaaa`, weights `{digest[:8]}`)' in (
        repo / METHOD / 'README.md').read_text()
    assert report(repo, '--check')[0] == 0


def test_record_wants_every_metric_of_the_config(repo, work_dir):
    meta = read_metafile(repo / META)
    text = (repo / META).read_text()
    assert meta['Models'][0]['Name'] == COCO
    second = '''      - Task: Instance Segmentation
        Dataset: COCO
        Metrics:
          Student mask AP (published): 35.4
          mask AP (published): 37.8
        Source: {Table: here, Method: FGFI, Teacher: A, Student: B}
        Ours: not run
'''
    (repo / META).write_text(text.replace('        Ours: not run\n',
                                          f'        Ours: not run\n{second}', 1))
    with open(repo / ROWS, 'a', encoding='utf-8') as file:
        file.write('FGFI,here,COCO,mask AP,A,,B,35.4,37.8,\n')
    config = repo / METHOD / f'{COCO}.py'
    code, said = report(repo, '--record', config, work_dir, '--git-sha', 'a')
    assert code == 1 and 'no coco/bbox_mAP and coco/segm_mAP' in said
    log = work_dir / '20250102_030405' / 'vis_data' / 'scalars.json'
    with open(log, 'a', encoding='utf-8') as file:
        file.write('{"coco/bbox_mAP": 0.4211, "coco/segm_mAP": 0.378, "step": 12}\n')
    code, said = report(repo, '--record', config, work_dir, '--git-sha', 'a')
    assert code == 0, said
    results = read_metafile(repo / META)['Models'][0]['Results']
    assert [{key: value for key, value in result['Ours'].items() if key != 'Evidence'}
            for result in results] == [{'box AP': 42.1}, {'mask AP': 37.8}]


@pytest.mark.parametrize('break_it, said', [
    (lambda d: (d / 'epoch_12.pth').unlink(), 'the checkpoint that was evaluated'),
    (lambda d: torch.save(dict(meta=dict(seed=7, epoch=11), state_dict={}), d / 'epoch_12.pth'),
     'is of epoch 11, the evaluation of 12'),
    (lambda d: replace(next(d.glob('*/*.log')), 'GPU number: 8', 'GPU number: 2'),
     'trained with 4 pictures per step'),
])
def test_record_refuses_a_work_dir_that_proves_nothing(repo, work_dir, break_it, said):
    break_it(work_dir)
    code, text = report(repo, '--record', repo / METHOD / f'{COCO}.py', work_dir, '--git-sha', 'a')
    assert code == 1 and said in text, text
