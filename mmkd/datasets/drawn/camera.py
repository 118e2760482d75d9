"""What happens to a drawn scene between the world and the file: size check and camera effects."""
import cv2
import numpy as np

from .canvas import smooth_field

MIN_SIZE = 32


def check_size(width, height):
    """Refuse pictures below ``MIN_SIZE`` pixels a side."""
    for name, value in (('width', width), ('height', height)):
        if int(value) != value or value < MIN_SIZE:
            raise ValueError(f'{name}={value}: expected a whole number of pixels, at least '
                             f'{MIN_SIZE}; choose a larger size')


def develop(rng, image):
    """What a camera adds: uneven light, glare, colour cast, contrast, blur and noise.

    Args:
        rng (numpy.random.Generator): source of every choice.
        image (numpy.ndarray): uint8 (H, W, 3) BGR.

    Returns:
        numpy.ndarray: uint8 of the same shape.
    """
    height, width = image.shape[:2]
    unit = height / 128
    picture = image.astype(np.float32) / 255
    light = 1 + rng.uniform(0.02, 0.12) * smooth_field(rng, width, height, 6)
    light += rng.uniform(0.0, 0.06) * smooth_field(rng, width, height, width // 3)  # texture
    picture *= light[..., None]
    if rng.random() < 0.25:  # glare
        x, y = rng.uniform(0, width), rng.uniform(0, height * 0.4)
        rows, columns = np.ogrid[:height, :width]
        far = ((columns - x) ** 2 + (rows - y) ** 2) / (rng.uniform(0.15, 0.5) * width) ** 2
        picture += (rng.uniform(0.2, 0.6) * np.exp(-far))[..., None].astype(np.float32)
    picture *= (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
    picture = np.clip(picture, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2)))
    blur = rng.uniform(0, 0.7) * unit
    if blur > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture = picture + np.float32(rng.uniform(0.006, 0.035)) * grain
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
