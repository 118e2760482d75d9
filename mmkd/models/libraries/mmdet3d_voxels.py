"""Which voxels of two detectors lie at the same place."""
import torch


def pair_voxels(student, mine, teacher, theirs):
    """For each of the teacher's voxels the student's in which its center lies.

    Args:
        student, teacher (nn.Module): Detectors, whose ``data_preprocessor`` makes the voxels.
        mine, theirs (Tensor): (M, 4) and (N, 4) integers, batch, z, y, x of their voxels.

    Returns:
        (2, P) int64: rows of the student's voxels and of the teacher's. A voxel of the teacher is
        left out where the student has none.
    """
    low, size, count = _grid(student, mine)
    their_low, their_size, _ = _grid(teacher, theirs)
    centers = their_low + (theirs[:, 1:].flip(1).double() + 0.5) * their_size
    cells = ((centers - low) / size).floor().long()
    inside = ((cells >= 0) & (cells < count)).all(1)
    wanted = _key(theirs[:, 0].long(), cells, count)
    keys, order = _key(mine[:, 0].long(), mine[:, 1:].flip(1).long(), count).sort()
    at = torch.searchsorted(keys, wanted).clamp(max=max(len(keys) - 1, 0))
    if not len(keys):
        return wanted.new_zeros(2, 0)
    found = (inside & (keys[at] == wanted)).nonzero()[:, 0]
    return torch.stack([order[at[found]], found])


def _key(batch, cells, count):
    x, y, z = cells.unbind(1)
    return ((batch * count[2] + z) * count[1] + y) * count[0] + x


def _grid(model, coors):
    """Lower corner and size of a voxel in metres, and how many there are, in x, y, z."""
    layer = model.data_preprocessor.voxel_layer
    area, size = (torch.tensor([float(n) for n in value], dtype=torch.float64, device=coors.device)
                  for value in (layer.point_cloud_range, layer.voxel_size))
    return area[:3], size, ((area[3:] - area[:3]) / size).round().long()
