"""Semantic names in slices that leave nothing, and in lists: what is wrong is told."""
import pytest

from tests.detectors import det_distiller
from tests.helpers import build


def message_of(tap):
    term = dict(student_tap=tap, teacher_tap='neck', loss=dict(type='mmkd.PKDLoss'),
                levels='common')
    with pytest.raises(ValueError, match='student tap') as caught:
        build(det_distiller(dict(feature=term)))
    return str(caught.value)


@pytest.mark.parametrize('tap, name', [
    ('neck[9:]', 'neck'), ('neck_convs[3:2]', 'neck_convs'), ('cls[5:]', 'cls')])
def test_a_slice_that_leaves_no_level(tap, name):
    message = message_of(tap)
    assert f"'{tap}': no level is left of the 5 of '{name}'" in message
    assert f'has no {name!r}' not in message


def test_a_name_that_is_not_there_with_a_slice():
    message = message_of('rpn_cls[:2]')
    assert "has no module 'rpn_cls'" in message and 'no level is left' not in message


def test_a_list_of_names_is_no_pyramid():
    message = message_of(['neck', 'cls'])
    assert "no module 'cls'" in message and 'A list of levels has paths in it, no names' in message
