"""Casts a grid of rays on convex solids and the ground: what each ray meets first.

With p the point at t times a ray's direction d, a face is crossed where n . p = s, so
1 / t = n . d / s, which is linear in d. A ray enters a solid at the last of the faces that the
sensor is outside of and leaves at the first of the others: the least and the greatest 1 / t. As
directions are a row's part plus a column's part, so is 1 / t, and one sum gives a whole picture.
"""
import numpy as np

SKY, GROUND = -2, -1
NEAR = 0.1  # metres before a camera's lens


def cast(rays, faces, count=None, reach=np.inf):
    """What each ray meets first.

    Args:
        rays (Rays): H rows and W columns.
        faces (Faces): what is there, in metres from the rays' origin.
        count: (T,) bool, for which things to count rays; none if None.
        reach (float): solids that are all beyond so many lengths of the rays may be left out.

    Returns:
        tuple: 1 / t (H, W) float32, 0 for the sky, where t counts lengths of the ray's direction;
        index of the face (H, W) int32, or ``SKY`` or ``GROUND``; and how many rays would meet each
        thing of ``count`` if nothing stood before it, as a dict thing -> rays.
    """
    slack = np.where(np.abs(faces.offsets) < 1e-6, 1e-6, faces.offsets)
    # within each solid, those faces come first that the sensor is outside of
    solids = np.repeat(np.arange(len(faces.things)), np.diff(faces.starts))
    order = np.lexsort((slack >= 0, solids)).astype(np.int32)
    entries = np.add.reduceat(slack < 0, faces.starts[:-1]).tolist()
    scaled = (faces.normals / slack[:, None])[order].astype(np.float32)
    across, down = (np.ascontiguousarray(part.T, np.float32) for part in (rays.across, rays.down))
    up = np.float32(-1 / rays.origin[2])
    near = np.maximum(across[2] * up + (down[2] * up)[:, None], 0)
    index = np.where(near > 0, GROUND, SKY).astype(np.int32)
    met = np.full(rays.shape, -1, np.int32)
    free = {}
    for solid, rows, columns, most in _windows(rays, faces, reach):
        thing = int(faces.things[solid])
        counted = count is not None and count[thing]
        before = near[rows, columns]
        if entries[solid] == 0 or (not counted and most < before.min()):
            continue  # the sensor is inside of it, or all of it is hidden
        first, last = faces.starts[solid], faces.starts[solid + 1]
        planes = scaled[first:last]
        value = (planes @ across[:, columns])[:, None] + (planes @ down[:, rows])[:, :, None]
        enter, leave = value[:entries[solid]], value[entries[solid]:]
        entry = enter[0] if len(enter) == 1 else np.minimum.reduce(enter)
        hit = entry > np.maximum.reduce(leave, initial=0)
        if counted:
            window = met[rows, columns]
            fresh = hit & (window != thing)
            free[thing] = free.get(thing, 0) + int(np.count_nonzero(fresh))
            window[fresh] = thing
        hit &= entry > before
        if len(enter) == 1:
            index[rows, columns][hit] = order[first]
        else:
            index[rows, columns][hit] = order[first + enter[:, hit].argmin(0)]
        before[hit] = entry[hit]
    return near, index, free


def _windows(rays, faces, reach):
    """(solid, rows, columns, most) of all solids that may be seen, things in turn, the nearest
    first: slices of the grid around each, and a bound on its 1 / t."""
    corners = faces.corners @ rays.turn
    if rays.intrinsic is not None:
        bounds, least = _picture_bounds(rays, corners), corners[..., 2].min(1)
    else:
        middle = corners[..., :2].mean(1)
        size = np.linalg.norm(corners[..., :2] - middle[:, None], axis=2).max(1)
        bounds, least = _scan_bounds(rays, corners), np.linalg.norm(middle, axis=1) - size - 1
    most = (1 / np.maximum(least, NEAR)).tolist()
    distance = np.full(faces.things.max(initial=0) + 1, np.inf)
    np.minimum.at(distance, faces.things, least)
    height, width = rays.shape
    bounds = [bound for bound in bounds if least[bound[0]] < reach]
    rank = np.argsort(np.lexsort((faces.things, distance[faces.things]))).tolist()
    bounds.sort(key=lambda bound: rank[bound[0]])
    for solid, left, right, top, bottom in bounds:
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, width), min(bottom, height)
        if left < right and top < bottom:
            yield solid, slice(top, bottom), slice(left, right), most[solid]


def _picture_bounds(rays, corners):
    depth = corners[..., 2]
    ahead = depth > NEAR
    focal, middle = rays.intrinsic[[0, 1], [0, 1]], rays.intrinsic[:2, 2]
    pixels = corners[..., :2] / np.where(ahead, depth, 1.)[..., None] * focal + middle
    low = np.floor(pixels.min(1)).astype(int)
    high = np.ceil(pixels.max(1)).astype(int) + 1
    whole = ahead.all(1)
    for solid in np.flatnonzero(ahead.any(1)).tolist():
        if whole[solid]:
            (left, top), (right, bottom) = low[solid].tolist(), high[solid].tolist()
        else:
            seen = _cut(corners[solid]) * focal + middle
            left, top = np.floor(seen.min(0)).clip(-1e6, 1e6).astype(int).tolist()
            right, bottom = (np.ceil(seen.max(0)).clip(-1e6, 1e6).astype(int) + 1).tolist()
        yield solid, left, right, top, bottom


def _cut(corners):
    """x / z and y / z (N, 2) that bound the part of a solid before the lens."""
    ahead = corners[:, 2] > NEAR
    front, rear = corners[ahead], corners[~ahead]
    share = (front[:, None, 2] - NEAR) / (front[:, None, 2] - rear[None, :, 2])
    between = front[:, None] + share[..., None] * (rear[None] - front[:, None])
    edge = np.concatenate([front, between.reshape(-1, 3)])
    return edge[:, :2] / edge[:, 2:]


def _scan_bounds(rays, corners):
    height, width = rays.shape
    middle = corners.mean(1)
    center = np.arctan2(middle[:, 1], middle[:, 0])
    angle = np.arctan2(corners[..., 1], corners[..., 0]) - center[:, None]
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    scale = width / (2 * np.pi)
    low = np.floor((center + angle.min(1) + np.pi) * scale - 0.5).astype(int).tolist()
    high = (np.ceil((center + angle.max(1) + np.pi) * scale - 0.5).astype(int) + 1).tolist()
    for solid, (left, right) in enumerate(zip(low, high, strict=True)):
        for turn in (-width, 0, width):  # a solid may lie across the seam
            if left + turn < width and right + turn > 0:
                yield solid, left + turn, right + turn, 0, height
