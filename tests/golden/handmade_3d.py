"""Reference cases of the 3D operators, by plain loops of numpy, in files with bare names."""
import json
import math

import numpy as np


def with_a_wrong_value(arrays, array):
    """The arrays, the largest value of one of them changed by a thousandth."""
    changed = np.array(arrays[array], order='C')
    changed.reshape(-1)[np.abs(changed).argmax()] *= 1.001
    return {**arrays, array: changed}


def write_bare(folder, name, args, arrays, dtype=np.float32):
    """Writes NAME.json and NAME.npz, all floats in ``dtype``; returns the json's path."""
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    arrays = {key: value.astype(dtype) if value.dtype.kind == 'f' else value
              for key, value in arrays.items()}
    np.savez(folder / f'{name}.npz', **arrays)
    described = {key: {'shape': list(value.shape), 'dtype': str(value.dtype), 'meaning': ''}
                 for key, value in arrays.items()}
    path = folder / f'{name}.json'
    path.write_text(json.dumps({'method': name, 'source': 'by hand', 'args': args, 'note': '',
                                'arrays': described}))
    return path


def bev_pool_v2_arrays(ranks=((0, 0, 1), (5, 3, 1), (2, 2, 3)), shape=(1, 2, 2, 2, 2),
                       bev=(1, 1, 2, 3), channels=3):
    """``ranks``: (depth entry, pixel, cell) of each point, sorted by cell."""
    random = np.random.default_rng(0)
    b, n, _, h, w = shape
    depth, feat = random.random(shape), random.standard_normal((b, n, h, w, channels))
    ranks = np.array(ranks, dtype=np.int64).reshape(-1, 3)
    total, grad_depth, grad_feat = 0., np.zeros(depth.size), np.zeros((b * n * h * w, channels))
    for entry, pixel, _ in ranks:
        vector = feat.reshape(-1, channels)[pixel]
        total += depth.flat[entry] * vector.sum()
        grad_depth[entry] += vector.sum()
        grad_feat[pixel] += depth.flat[entry]
    return {'depth': depth, 'feat': feat, 'ranks_depth': ranks[:, 0], 'ranks_feat': ranks[:, 1],
            'ranks_bev': ranks[:, 2], 'bev_feat_shape': np.array([*bev, channels]),
            'loss_sum': np.float64(total), 'grad_depth': grad_depth.reshape(shape),
            'grad_feat': grad_feat.reshape(feat.shape)}


def lss_arrays(grid, batch=2, cameras=2, channels=3, size=(3, 4)):
    """Cameras that look along x, turned about z, over a grid {xbound, ybound, zbound, dbound}."""
    random = np.random.default_rng(1)
    bins = np.arange(*grid['dbound'])
    shape = batch, cameras, len(bins), *size
    frustum = np.array([[[(16. * w, 16. * h, depth) for w in range(size[1])]
                         for h in range(size[0])] for depth in bins])
    ahead = np.array([[0., 0., 1.], [-1., 0., 0.], [0., -1., 0.]])
    rots, post_rots, intrins = (np.zeros((batch, cameras, 3, 3)) for _ in range(3))
    for b, n in np.ndindex(batch, cameras):
        angle = 0.3 + 2 * n + 0.1 * b
        turn = np.array([[math.cos(angle), -math.sin(angle), 0.],
                         [math.sin(angle), math.cos(angle), 0.], [0., 0., 1.]])
        rots[b, n], post_rots[b, n] = turn @ ahead, np.diag([0.9, 0.9, 1.])
        intrins[b, n] = [[30., 0., 24.], [0., 30., 16.], [0., 0., 1.]]
    trans = 0.3 * random.standard_normal((batch, cameras, 3))
    post_trans = np.tile([3., -2., 0.], (batch, cameras, 1))
    logits = random.standard_normal((batch * cameras, *shape[2:]))
    feat = random.standard_normal((batch * cameras, channels, *size))
    bounds = [grid[axis + 'bound'] for axis in 'xyz']
    count = [round((high - low) / step) for low, high, step in bounds]
    depth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    geometry = np.zeros((*shape, 3))
    cells = {}
    for b, n, d, h, w in np.ndindex(shape):
        u, v, z = np.linalg.solve(post_rots[b, n], frustum[d, h, w] - post_trans[b, n])
        ray = np.linalg.solve(intrins[b, n], [u * z, v * z, z])
        geometry[b, n, d, h, w] = rots[b, n] @ ray + trans[b, n]
        x, y, z = (math.trunc((p - low) / step)
                   for p, (low, _, step) in zip(geometry[b, n, d, h, w], bounds, strict=True))
        if 0 <= x < count[0] and 0 <= y < count[1] and 0 <= z < count[2]:
            cells.setdefault((b, z, y, x), []).append((n, d, h, w))

    bev = np.zeros((batch, count[2] * channels, count[1], count[0]))
    weight = random.standard_normal(bev.shape)
    grad_depth, grad_feat = np.zeros_like(depth), np.zeros_like(feat)
    ranks, lengths = [], []
    for b, z, y, x in sorted(cells):
        levels = slice(z * channels, (z + 1) * channels)
        lengths.append(len(cells[b, z, y, x]))
        for n, d, h, w in reversed(cells[b, z, y, x]):  # any order will do within a cell
            camera, slope = b * cameras + n, weight[b, levels, y, x]
            bev[b, levels, y, x] += depth[camera, d, h, w] * feat[camera, :, h, w]
            grad_depth[camera, d, h, w] += slope @ feat[camera, :, h, w]
            grad_feat[camera, :, h, w] += depth[camera, d, h, w] * slope
            ranks.append((((b * count[2] + z) * count[1] + y) * count[0] + x,
                          np.ravel_multi_index((b, n, d, h, w), shape),
                          np.ravel_multi_index((b, n, h, w), (*shape[:2], *size))))
    inner = (depth * grad_depth).sum(1, keepdims=True)
    ranks = np.array(ranks, dtype=np.int32).reshape(-1, 3)
    lengths = np.array(lengths, dtype=np.int32)
    return {'frustum': frustum, 'rots': rots, 'trans': trans, 'intrins': intrins,
            'post_rots': post_rots, 'post_trans': post_trans, 'geometry': geometry,
            'depth_logits': logits, 'img_feat': feat, 'bev': bev, 'out_weight': weight,
            'grad_depth_logits': depth * (grad_depth - inner), 'grad_img_feat': grad_feat,
            'ranks_bev': ranks[:, 0], 'ranks_depth': ranks[:, 1], 'ranks_feat': ranks[:, 2],
            'interval_starts': (np.cumsum(lengths) - lengths).astype(np.int32),
            'interval_lengths': lengths, 'bev_v2_reference': bev}


def slidr_arrays(pairs=((0, 0, 1, 1), (2, 0, 0, 3), (2, 1, 2, 2), (4, 1, 1, 0), (1, 0, 1, 1)),
                 images=2, per_image=4, temperature=0.5, points=5, channels=3, size=(3, 4),
                 noise=None):
    """``pairs``: (point, image, row, column). The last superpixel of an image is unused.

    With ``noise``, both sides of superpixel s are the s-th unit vector, but for that much.
    """
    random = np.random.default_rng(2)
    point_feat = random.standard_normal((points, channels))
    image_feat = random.standard_normal((images, channels, *size))
    superpixels = random.integers(0, max(per_image - 1, 1), (images, *size))
    pairs = np.array(pairs, dtype=np.int64).reshape(-1, 4)
    if noise is not None:
        axes = np.eye(channels)[superpixels + per_image * np.arange(images)[:, None, None]]
        image_feat = axes.transpose(0, 3, 1, 2) + noise * image_feat
        point_feat[pairs[:, 0]] *= noise
        point_feat[pairs[:, 0]] += axes[tuple(pairs[:, 1:].T)]
    of_points, of_pixels = {}, {}
    for point, n, row, column in pairs:
        of_points.setdefault((n, superpixels[n, row, column]), []).append(point)
    for n, row, column in np.ndindex(superpixels.shape):
        of_pixels.setdefault((n, superpixels[n, row, column]), []).append((n, row, column))
    seen = sorted(of_points)
    k = [sum(point_feat[p] for p in of_points[s]) / (len(of_points[s]) + 1e-6) for s in seen]
    q = [sum(image_feat[n, :, i, j] for n, i, j in of_pixels[s]) / (len(of_pixels[s]) + 1e-6)
         for s in seen]
    loss = 0. if seen else math.nan  # the mean of nothing
    grad_points, grad_image = np.zeros_like(point_feat), np.zeros_like(image_feat)
    for i, row in enumerate(seen):
        odds = np.exp([k[i] @ q[j] / temperature for j in range(len(seen))])
        loss -= math.log(odds[i] / odds.sum()) / len(seen)
        for j, column in enumerate(seen):
            slope = (odds[j] / odds.sum() - (i == j)) / len(seen) / temperature
            for p in of_points[row]:
                grad_points[p] += slope * q[j] / (len(of_points[row]) + 1e-6)
            for n, y, x in of_pixels[column]:
                grad_image[n, :, y, x] += slope * k[i] / (len(of_pixels[column]) + 1e-6)
    return {'point_feat': point_feat, 'image_feat': image_feat, 'superpixels': superpixels,
            'pairing_points': pairs[:, 0], 'pairing_images': pairs[:, 1:], 'loss': loss,
            'grad_point_feat': grad_points, 'grad_image_feat': grad_image}
