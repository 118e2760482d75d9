"""A detector in mmdeploy's SDK, without PyTorch, finds PyTorch's boxes."""
import numpy as np
import pytest

from mmkd.deploy.command import deploy
from tests.deploy.test_sdk import pytorch_prediction, run_in_sdk
from tests.detection_project import write_detection_project


@pytest.mark.slow
def test_detector_runs_in_the_sdk(tmp_path):
    project = write_detection_project(tmp_path, kind='retinanet')
    weights = str(project / 'teacher.pth')
    deploy(str(project / 'student.py'), weights, tmp_path / 'out', metric=False,
           deploy_cfg='detection_onnxruntime-dynamic', say=lambda line: None)
    picture = sorted((project / 'data' / 'val2017').iterdir())[0]
    got = run_in_sdk('Detector', tmp_path / 'out', picture, tmp_path / 'found.npz')
    wanted = pytorch_prediction(str(project / 'student.py'), weights, picture).pred_instances
    assert len(wanted.scores) >= 5
    order = np.argsort(-got['bboxes'][:, 4], kind='stable')[:len(wanted.scores)]
    np.testing.assert_allclose(got['bboxes'][order, 4], wanted.scores, atol=1e-4)
    for score, label, box in zip(wanted.scores.numpy(), wanted.labels.numpy(),
                                 wanted.bboxes.numpy(), strict=True):
        # The SDK clips boxes to width - 1 and height - 1, mmdet to width and height.
        near = (got['labels'] == label) & (abs(got['bboxes'][:, 4] - score) < 1e-4)
        assert abs(got['bboxes'][near, :4] - box).max(axis=1).min() < 1.01
