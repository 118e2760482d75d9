"""3D boxes drawn into the images of all cameras and into the map seen from above."""
import cv2
import numpy as np

from ..models.bev.geometry import camera_matrices
from .sheets import write_picture

#: colours of the groups of boxes, RGB: Okabe and Ito's, which colour-blind readers can tell apart
GROUP_COLOURS = ((0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66), (204, 121, 167))
#: corners of mmdet3d's boxes (those with dx first): edges of the box, and of its front
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 5), (2, 6), (3, 7))
FRONT = ((4, 5), (5, 6), (6, 7), (7, 4), (4, 6), (5, 7))
NEAREST = .2  # metres in front of a camera; what is nearer is cut off
MARGIN = 6    # pixels between pictures
HEIGHT = 520  # of a map without pictures


def draw_scene(path, images, cameras, groups, point_cloud_range, points=None, columns=3):
    """Write a picture, :func:`scene_picture`, to a PNG file; returns its ``path``."""
    return write_picture(path, scene_picture(images, cameras, groups, point_cloud_range, points,
                                             columns))


def scene_picture(images, cameras, groups, point_cloud_range, points=None, columns=3, below=False):
    """A picture: the images of all cameras with boxes, and the map beside or below them.

    The front of a box has a cross. The map has x to the right and y upwards, in metres of the
    (augmented) LiDAR frame, 10 m between the lines.

    Args:
        images (list): (H, W, 3) uint8 RGB of each camera, as the network gets them; may be empty.
        cameras (CameraMatrices): Of this one sample.
        groups (dict): name -> (M, 8, 3) corners in the (augmented) LiDAR frame, in mmdet3d's
            order; one colour each.
        point_cloud_range: (x_min, y_min, z_min, x_max, y_max, z_max) of the map.
        points: (P, 3 or more) x, y, z, drawn into the map.
        columns (int): Images beside each other.
        below (bool): The map is below the images, as wide as they are.

    Returns:
        ndarray: (H, W, 3) uint8 RGB.
    """
    if len(groups) > len(GROUP_COLOURS):
        raise ValueError(f'draw_scene has colours for {len(GROUP_COLOURS)} groups of boxes, not '
                         f'{len(groups)}')
    groups = [(name, np.asarray(corners, dtype=np.float64).reshape(-1, 8, 3), colour)
              for (name, corners), colour in zip(groups.items(), GROUP_COLOURS, strict=False)]
    painted = []
    for i, image in enumerate(images):
        image = np.ascontiguousarray(image)
        for _, corners, colour in groups:
            draw_in_image(image, corners, cameras, i, colour)
        painted.append(image)
    if not painted:
        return draw_from_above(groups, point_cloud_range, points, HEIGHT)
    sheet = _tiled(painted, columns)
    x_min, y_min, _, x_max, y_max, _ = point_cloud_range
    height = round(sheet.shape[1] * (y_max - y_min) / (x_max - x_min)) if below else sheet.shape[0]
    scene = draw_from_above(groups, point_cloud_range, points, height)
    if not below:
        gap = np.full((height, MARGIN, 3), 255, np.uint8)
        return np.concatenate([sheet, gap, scene], 1)
    gap = np.full((MARGIN, sheet.shape[1], 3), 255, np.uint8)
    scene = cv2.resize(scene, (sheet.shape[1], height)) if scene.shape[1] != sheet.shape[1] \
        else scene
    return np.concatenate([sheet, gap, scene])


def draw_in_image(image, corners, cameras, camera, colour):
    """Draw boxes into the image (H, W, 3) of one camera, in place.

    Args:
        corners: (M, 8, 3) in the (augmented) LiDAR frame.
        cameras (CameraMatrices): Of one sample.
        camera (int): Which of them.
    """
    to_camera = (cameras.cam2img[0, camera] @ cameras.lidar2cam[0, camera]).numpy() \
        @ np.linalg.inv(cameras.lidar_aug[0].numpy())
    to_image = cameras.img_aug[0, camera].numpy()
    seen = corners @ to_camera[:3, :3].T + to_camera[:3, 3]  # u * z, v * z, z
    height, width = image.shape[:2]
    for box in seen:
        for a, b in EDGES + FRONT:
            ends = _in_front(box[a], box[b])
            if ends is None:
                continue
            pixels = ends[:, :2] / ends[:, 2:] @ to_image[:2, :2].T + to_image[:2, 3]
            if np.abs(pixels).max() > 50 * max(height, width):
                continue
            (u, v), (s, t) = np.rint(pixels).astype(int).tolist()
            visible, start, end = cv2.clipLine((0, 0, width, height), (u, v), (s, t))
            if visible:
                cv2.line(image, start, end, colour, 1, cv2.LINE_AA)


def _in_front(a, b):
    """(2, 3) the part of a line in front of the camera, None if there is none."""
    if max(a[2], b[2]) < NEAREST:
        return None
    if a[2] < NEAREST:
        a = b + (a - b) * (b[2] - NEAREST) / (b[2] - a[2])
    elif b[2] < NEAREST:
        b = a + (b - a) * (a[2] - NEAREST) / (a[2] - b[2])
    return np.stack([a, b])


def _tiled(images, columns):
    """The images in rows of ``columns``, on white."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + MARGIN) - MARGIN, columns * (width + MARGIN) - MARGIN, 3),
                    255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + MARGIN), i % columns * (width + MARGIN)
        sheet[top:top + height, left:left + width] = image
    return sheet


def draw_from_above(groups, point_cloud_range, points, height, ground=None):
    """The map (height, W, 3): boxes of ``groups`` of (name, corners, colour), and points.

    ``ground``: (height, W, 3) RGB on which they are drawn; default: white, with lines.
    """
    x_min, y_min, _, x_max, y_max, _ = point_cloud_range
    scale = height / (y_max - y_min)
    picture = np.full((height, max(round((x_max - x_min) * scale), 1), 3), 255, np.uint8) \
        if ground is None else ground.copy()

    def pixel(xy):
        return np.stack([(xy[..., 0] - x_min) * scale, (y_max - xy[..., 1]) * scale], -1)

    for at in range(-1000, 1001, 10) if ground is None else ():
        for line in ([(x_min, at), (x_max, at)], [(at, y_min), (at, y_max)]):
            (u, v), (s, t) = np.rint(np.clip(pixel(np.array(line, dtype=float)), -9999, 9999)
                                     ).astype(int).tolist()
            cv2.line(picture, (u, v), (s, t), (225, 225, 225), 1)
    if points is not None:
        u, v = np.floor(pixel(np.asarray(points)[:, :2])).astype(int).T
        inside = (u >= 0) & (u < picture.shape[1]) & (v >= 0) & (v < height)
        picture[v[inside], u[inside]] = 120
    for i, (name, corners, colour) in enumerate(groups):
        for box in pixel(corners[..., :2]):
            if np.abs(box).max() > 9999:
                continue
            bottom = np.rint(box[[0, 3, 7, 4]]).astype(np.int32)  # rear, rear, front, front
            cv2.polylines(picture, [bottom], True, colour, 1, cv2.LINE_AA)
            middle, front = bottom.mean(0), bottom[2:].mean(0)
            cv2.line(picture, *(tuple(np.rint(p).astype(int).tolist()) for p in (middle, front)),
                     colour, 1, cv2.LINE_AA)
        cv2.putText(picture, name, (6, 16 + 16 * i), cv2.FONT_HERSHEY_SIMPLEX, .45, colour, 1,
                    cv2.LINE_AA)
    return picture


def draw_sample(path, item, point_cloud_range, predicted=None, score=.3, points=None):
    """Write :func:`sample_picture` to the PNG file ``path``; returns it."""
    return write_picture(path, sample_picture(item, point_cloud_range, predicted, score, points))


def sample_picture(item, point_cloud_range, predicted=None, score=.3, points=None, columns=3,
                   below=False):
    """:func:`scene_picture` of an item of a data set, with its boxes and predicted ones.

    Args:
        item (dict): What a pipeline that ends with ``mmkd.PackBEVInputs`` gives.
        point_cloud_range: Of the map, metres.
        predicted (InstanceData, optional): ``pred_instances_3d`` of the sample.
        score (float): Predictions above it are drawn.
        points: (P, 3 or more), drawn into the map; default: those of the item.
        columns, below: See :func:`scene_picture`.

    Returns:
        ndarray: (H, W, 3) uint8 RGB.
    """
    sample, truth = item['data_samples'], true_boxes(item['data_samples'])
    groups = {} if truth is None else {'ground truth': truth.corners}
    if predicted is not None:
        keep = predicted.scores_3d > score
        groups[f'predicted, score > {score:g}'] = predicted.bboxes_3d[keep].corners.cpu()
    images = item['inputs'].get('img', ())
    images = images[:len(images) // sample.get('num_frames', 1)]
    return scene_picture(
        [image.permute(1, 2, 0).numpy()[..., ::-1] for image in images],
        camera_matrices([sample.metainfo]) if len(images) else None, groups, point_cloud_range,
        item['inputs'].get('points') if points is None else points, columns, below)


def true_boxes(sample):
    """The annotated boxes of a sample of training or of validation; None if it has none."""
    boxes = sample.gt_instances_3d.get('bboxes_3d')
    if boxes is None and sample.get('eval_ann_info'):
        boxes = sample.eval_ann_info['gt_bboxes_3d']
    return boxes
