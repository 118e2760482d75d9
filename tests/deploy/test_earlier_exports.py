"""An export into the folder of an earlier one: its files go, and those of others stay."""
import json

import pytest

from mmkd.deploy.command import deploy
from mmkd.deploy.report import written
from mmkd.deploy.staging import staging
from tests.cli import write_project
from tests.deploy.models import save_weights
from tests.helpers import tiny_segmentor


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_what_the_new_report_does_not_describe_goes(tmp_path):
    project = write_project(tmp_path)
    weights = save_weights(tiny_segmentor(num_classes=19), project / 'student.pth')
    out = tmp_path / 'out'

    def export(**options):
        return deploy(project / 'student.py', weights, out, metric=False, samples=1,
                      say=lambda line: None, **options)

    first = export(forms=['int8', 'fp16'], calibration_samples=1)
    assert names(out) == set(first['written']) > {'end2end_int8.onnx', 'end2end_fp16.onnx'}
    assert json.loads((out / 'report.json').read_text()) == first
    (out / 'notes.txt').write_text('of the user')
    export(forms=['fp16'])
    assert names(out) == set(first['written']) - {'end2end_int8.onnx'} | {'notes.txt'}
    (out / 'end2end_int8.onnx').write_text('of the user')  # no report tells of it
    last = export()
    assert names(out) == {*last['written'], 'notes.txt', 'end2end_int8.onnx'}
    assert 'end2end_fp16.onnx' not in last['written']


def test_after_an_error_the_earlier_ones_stay(tmp_path):
    (tmp_path / 'old.onnx').touch()
    with pytest.raises(RuntimeError), staging(str(tmp_path), earlier=['old.onnx']):
        raise RuntimeError
    assert names(tmp_path) == {'old.onnx'}
    with staging(str(tmp_path), earlier=['old.onnx', 'gone.onnx']) as folder:
        with open(f'{folder}/new.onnx', 'w'):
            pass
    assert names(tmp_path) == {'new.onnx'}


@pytest.mark.parametrize('content', [
    '', '[]', '{}', 'no json', '{"written": "a.onnx"}', '{"written": [1, "../a.onnx", "/a.onnx"]}',
    '{"written": ["folder", "..", "missing.onnx", ""]}', '\udcff'])
def test_a_report_of_another_tool_names_nothing(tmp_path, content):
    assert written(str(tmp_path)) == []
    (tmp_path / 'folder').mkdir()
    (tmp_path.parent / 'a.onnx').touch()
    (tmp_path / 'report.json').write_bytes(content.encode(errors='surrogateescape'))
    assert written(str(tmp_path)) == []
