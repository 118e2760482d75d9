"""Detectors that have learned their pictures: in 8 bits, in half precision, and in the SDK."""
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mmkd.deploy.command import deploy
from tests.deploy.test_sdk import pytorch_prediction, run_in_sdk
from tests.deploy.trained import write_trained_detector


@pytest.fixture(scope='module')
def deployed(tmp_path_factory):
    """(folder with student.py, student.pth, data and out, report with both forms) of a GFL."""
    folder = tmp_path_factory.mktemp('gfl')
    config, weights = write_trained_detector(folder)
    return folder, deploy(config, weights, folder / 'out', forms=['int8', 'fp16'],
                          deploy_cfg='detection_onnxruntime-dynamic', say=lambda line: None)


def test_smaller_forms_keep_the_metric(deployed):
    _, report = deployed
    whole = report['metric']['values']['coco/bbox_mAP'][1]
    assert whole > 0.4, 'it has not learned its pictures'
    for form, lost in dict(int8=0.05, fp16=0.01).items():
        assert abs(report['variants'][form]['metric']['coco/bbox_mAP'] - whole) <= lost, form


def test_smaller_forms_are_what_their_names_say(deployed):
    folder, report = deployed
    for form, small in dict(int8=TensorProto.INT8, fp16=TensorProto.FLOAT16).items():
        graph = onnx.load(folder / 'out' / f'end2end_{form}.onnx').graph
        sizes = {}
        for tensor in graph.initializer:
            sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + np.prod(tensor.dims)
        assert sizes[small] > 0.75 * report['size']['parameters'], form
    # Neither is the float32 file under another name.
    int8, fp16 = ([one['value'] for one in report['variants'][form]['checks']
                   if one['name'] == 'largest difference of scores'][0]
                  for form in ('int8', 'fp16'))
    assert int8 > fp16 > 1e-5


@pytest.mark.slow
def test_detector_runs_in_the_sdk(deployed, tmp_path):
    folder, _ = deployed
    clipped = 0
    for picture in sorted((folder / 'data' / 'train2017').iterdir())[:2]:
        got = run_in_sdk('Detector', folder / 'out', picture, tmp_path / 'found.npz')
        wanted = pytorch_prediction(str(folder / 'student.py'), str(folder / 'student.pth'),
                                    picture)
        height, width = wanted.ori_shape
        wanted = wanted.pred_instances.numpy()
        # The SDK clips boxes to width - 1 and height - 1, mmdet to width and height.
        boxes = np.minimum(wanted.bboxes, [width - 1, height - 1] * 2)
        clipped += (boxes != wanted.bboxes).sum()
        assert len(got['labels']) == len(wanted.scores) >= 5
        for score, label, box in zip(wanted.scores, wanted.labels, boxes, strict=True):
            same = (got['labels'] == label) & (abs(got['bboxes'][:, 4] - score) < 1e-4) & (
                abs(got['bboxes'][:, :4] - box).max(axis=1) < 0.01)
            assert same.sum() == 1, (score, label, box)
    assert clipped, 'no box reaches a border'
