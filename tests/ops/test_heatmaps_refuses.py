"""What draw_gaussian_heatmap and gaussian_radius say to input that they can't take."""
import pytest
import torch

from mmkd.ops.heatmaps import draw_gaussian_heatmap, gaussian_radius

ZEROS = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(centers=torch.zeros(4, 3)), r'centers must have shape \(K, 2\)'),
    (dict(centers=torch.zeros(4, 2).bool()), 'centers must be float32'),
    (dict(radii=ZEROS[:3]), r'radii must have shape \(4\)'),
    (dict(radii=2), 'radii must be a tensor'),
    (dict(labels=ZEROS.float()), 'labels must be int32'),
    (dict(labels=ZEROS + 2), r'labels must lie in \[-1, 2\)'),
    (dict(labels=ZEROS - 2), r'labels must lie in \[-1, 2\)'),
    (dict(num_classes=0), 'num_classes must be at least 1'),
    (dict(grid_size=(3, 0)), 'grid_size Y must be at least 1'),
    (dict(grid_size=(3., 3)), 'grid_size X must be an integer'),
    (dict(grid_size=3), '2 integers'),
    (dict(batch_size=2), 'needs a batch_index'),
    (dict(batch_index=ZEROS[:1]), r'batch_index must have shape \(4\)'),
    (dict(batch_index=[0] * 4), 'batch_index must be a tensor'),
    (dict(batch_index=ZEROS + 1, batch_size=1), r'batch_index must lie in \[0, 1\)'),
    (dict(batch_index=ZEROS - 1), 'batch_index must not be negative, but holds values from -1'),
    (dict(radii=ZEROS.to('meta')), 'different devices'),
])
def test_draw_refuses(change, message):
    arguments = dict(centers=torch.zeros(4, 2), radii=ZEROS, labels=ZEROS, num_classes=2,
                     grid_size=(6, 5))
    with pytest.raises(ValueError, match=f'draw_gaussian_heatmap: .*{message}'):
        draw_gaussian_heatmap(**{**arguments, **change})


@pytest.mark.parametrize(('size', 'overlap', 'message'), [
    (torch.ones(2), .5, r'size must have shape \(K, 2\)'),
    (torch.ones(3, 2).long(), .5, 'size must be float32'),
    ((2., 3.), .5, 'size must be a tensor'),
    (torch.ones(3, 2), 0, r'min_overlap must lie in \(0, 1\]'),
    (torch.ones(3, 2), float('nan'), r'min_overlap must lie in \(0, 1\]'),
    (torch.ones(3, 2), 1.5, r'min_overlap must lie in \(0, 1\]'),
])
def test_radius_refuses(size, overlap, message):
    with pytest.raises(ValueError, match=f'gaussian_radius: {message}'):
        gaussian_radius(size, overlap)
