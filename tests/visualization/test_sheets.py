"""Sheets of pictures, and files that cannot be written."""
import cv2
import numpy as np
import pytest

from mmkd.visualization.sheets import GAP, TITLE, sheet, write_picture

RED = np.full((20, 40, 3), (255, 0, 0), np.uint8)


def test_a_sheet_is_as_high_as_its_longest_column(tmp_path):
    picture = sheet({'one': [RED], 'two': [RED, RED], 'none': []}, 40)
    assert picture.shape == (TITLE + 2 * (20 + GAP), 3 * (40 + GAP), 3)
    path = write_picture(str(tmp_path / 'sheet.png'), picture)
    assert (cv2.imread(path)[..., ::-1] == picture).all()
    assert (picture[TITLE + 5, 5] == (255, 0, 0)).all() and (picture[-1, 5] == 255).all()


def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    """OpenCV says so by its return value alone."""
    with pytest.raises(OSError, match='missing/sheet.png could not be written'):
        write_picture(str(tmp_path / 'missing' / 'sheet.png'), RED)
