"""What a metafile says of the taps of a term, however they are written."""
import pytest
from mmengine.config import ConfigDict

from mmkd.results.metafiles import _term


@pytest.mark.parametrize('taps, said', [
    (dict(tap='neck'), 'neck'),
    (dict(student_tap='neck[:4]', teacher_tap='neck'), 'neck[:4] / neck'),
    (dict(tap=dict(cls='cls', reg='reg')), 'cls, reg'),
    (dict(tap=['neck.a', 'neck.b']), 'neck.a, neck.b'),
    (dict(tap=dict(feature=['neck.a', 'neck.b'], cls='cls')), 'neck.a, neck.b, cls')])
def test_taps(taps, said):
    assert _term(ConfigDict(taps, loss=dict(type='mmkd.A')))['Tap'] == said
