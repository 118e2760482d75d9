"""Sheets of pictures: columns with titles, and writing them."""
import cv2
import numpy as np

#: width of a column of pictures in pixels, height of the titles, space between the cells
WIDTH, TITLE, GAP = 360, 30, 6


def write_picture(path, picture):
    """Write a picture (H, W, 3) uint8 RGB as PNG; returns its ``path``.

    Raises:
        OSError: it could not be written.
    """
    if not cv2.imwrite(path, picture[..., ::-1]):
        raise OSError(f'{path} could not be written')
    return path


def sheet(columns, width=WIDTH):
    """Columns of pictures under their titles, as one RGB picture.

    Args:
        columns (dict): title -> list of (H, W, 3) uint8 RGB.
        width (int): Of a column, pixels.
    """
    parts = [np.vstack([_title(title, width), *(_cell(cell, width) for cell in cells)])
             for title, cells in columns.items()]
    height = max(part.shape[0] for part in parts)
    parts = [cv2.copyMakeBorder(part, 0, height - part.shape[0], 0, 0, cv2.BORDER_CONSTANT,
                                value=(255, 255, 255)) for part in parts]
    return np.hstack(parts)


def _cell(image, width):
    """A picture of the column's width with a white margin."""
    scale = width / image.shape[1]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 2 else cv2.INTER_LINEAR
    image = cv2.resize(image, (width, max(round(image.shape[0] * scale), 1)), interpolation=way)
    return cv2.copyMakeBorder(image, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _title(text, width):
    bar = np.full((TITLE, width + GAP, 3), 255, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.62
    scale *= min(1., (width - 8) / cv2.getTextSize(text, font, scale, 1)[0][0])
    cv2.putText(bar, text, (4, 21), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return bar
