"""Resizing, cropping, flipping and rotating the images of several cameras."""
import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class MultiViewImageAug(BaseTransform):
    """BEVDet's image augmentation, each camera's its own, with exact matrices.

    A picture is resized to the network's width times 1 + a draw of ``resize``, cropped to
    ``size`` (at the bottom of the picture, since above is sky), flipped, and rotated about its
    middle. ``img_aug_matrix`` (a list of 4 x 4) then maps (u, v, depth, 1) of the picture as it
    was taken to the image. Pixels are whole numbers at the middle of a pixel, and the matrices
    have the half pixels that resizing and flipping move. Labels and calibration stay as they are:
    the matrix is what undoes it. The cameras of a previous frame get what this frame's got.

    Args:
        size: (height, width) of the result.
        resize: (low, high) added to the scale; BEVDet's are (-0.06, 0.11).
        crop_height: (low, high) of which a draw is the part of the height that is cropped away
            below; BEVDet's are (0., 0.).
        flip (bool): Flip left and right half of the time.
        rotate_degrees: (low, high).
        test_mode (bool): Draw nothing: ``test_resize``, the crop in the middle (and at the mean of
            crop_height), no flip, no rotation.
        test_resize (float): Added to the scale then.
    """

    def __init__(self, size, resize=(-.06, .11), crop_height=(0., 0.), flip=True,
                 rotate_degrees=(-5.4, 5.4), test_mode=False, test_resize=0.):
        self.size = tuple(size)
        self.resize, self.crop_height, self.flip = resize, crop_height, flip
        self.rotate_degrees, self.test_mode, self.test_resize = \
            rotate_degrees, test_mode, test_resize

    def transform(self, results):
        """Augment ``img`` (a list of (H, W, 3)) and multiply ``img_aug_matrix``.

        Raises:
            ValueError: there are no images or matrices.
        """
        for key in ('img', 'img_aug_matrix'):
            if key not in results:
                raise ValueError(f'MultiViewImageAug: there is no {key}; mmkd.LoadCameraImages '
                                 'comes before')
        count = len(results['img']) // results.get('num_frames', 1)
        draws = [self.draw(image.shape[:2]) for image in results['img'][:count]]
        for i, image in enumerate(results['img']):
            resized, matrix = draws[i % count]
            results['img'][i] = self.apply(image, resized, matrix)
            results['img_aug_matrix'][i] = matrix @ results['img_aug_matrix'][i]
        results['img_shape'] = results['pad_shape'] = self.size
        return results

    def draw(self, picture):
        """How one picture of (height, width) is augmented.

        Returns:
            ((width, height) after resizing, 4 x 4 matrix of all of it).
        """
        height, width = self.size
        scale = width / picture[1]
        if self.test_mode:
            scale += self.test_resize
            part, across, flipped, angle = np.mean(self.crop_height), .5, False, 0.
        else:
            scale += np.random.uniform(*self.resize)
            part, across = np.random.uniform(*self.crop_height), np.random.uniform()
            flipped = self.flip and np.random.uniform() < .5
            angle = np.random.uniform(*self.rotate_degrees)
        resized = max(round(picture[1] * scale), 1), max(round(picture[0] * scale), 1)
        left = int(max(resized[0] - width, 0) * across)
        top = int((1 - part) * resized[1]) - height
        matrix = shift(-left, -top) @ resizing(picture, resized)
        if flipped:
            matrix = mirroring(width) @ matrix
        return resized, rotation(self.size, angle) @ matrix

    def apply(self, image, resized, matrix):
        """The image (H, W, 3): resized, then the rest of the matrix in one step."""
        rest = matrix @ np.linalg.inv(resizing(image.shape[:2], resized))
        shrinks = resized[0] < image.shape[1]
        image = cv2.resize(image, resized,
                           interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return cv2.warpAffine(image, rest[:2, [0, 1, 3]], self.size[::-1], flags=cv2.INTER_LINEAR)


def resizing(picture, resized):
    """4 x 4 of a resize from (height, width) to (width, height)."""
    matrix = np.eye(4)
    for i, (new, old) in enumerate(zip(resized, picture[::-1], strict=True)):
        matrix[i, i], matrix[i, 3] = new / old, (new / old - 1) / 2
    return matrix


def shift(u, v):
    """4 x 4 of a shift by (u, v) pixels."""
    matrix = np.eye(4)
    matrix[:2, 3] = u, v
    return matrix


def mirroring(width):
    """4 x 4 that flips left and right."""
    matrix = np.diag([-1., 1., 1., 1.])
    matrix[0, 3] = width - 1
    return matrix


def rotation(size, degrees):
    """4 x 4 of a rotation about the middle of an image of (height, width), u towards v."""
    angle, middle = np.deg2rad(degrees), shift((size[1] - 1) / 2, (size[0] - 1) / 2)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return middle @ turn @ np.linalg.inv(middle)
