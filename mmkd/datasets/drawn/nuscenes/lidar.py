"""What the laser scanner returns."""
import numpy as np

from .cast import SKY

NOISE = 0.02  # metres along the ray
RANGE = 55.  # metres
GROUND_REFLECTANCE = 0.12


def scan(rng, rays, near, index, faces):
    """The points of one turn.

    A return is lost the likelier the farther away, the darker and the more slanting its surface.

    Args:
        rng (numpy.random.Generator): source of noise and losses.
        rays (Rays): of the scanner.
        near: (32, W) as ``cast`` gives it.
        index: (32, W) likewise.
        faces (Faces): in metres from the scanner.

    Returns:
        tuple: points (N, 5) float32 x, y, z in metres in the scanner's frame, intensity 0..255 and
        beam 0..31; and the index (N,) of the face or ``GROUND``.
    """
    beams, columns = np.nonzero((index != SKY) & (near > 0))
    directions = rays.across[columns] + rays.down[beams]
    length = np.linalg.norm(directions, axis=1)
    face = index[beams, columns]
    distance = length / near[beams, columns]
    solid = face >= 0
    reflectance = np.where(solid, faces.fixed['reflectance'][face], GROUND_REFLECTANCE)
    normals = np.where(solid[:, None], faces.normals[face], (0., 0., 1.))
    slant = np.abs((normals * directions).sum(1)) / length
    returned = reflectance * (0.25 + 0.75 * slant)
    chance = np.clip(1.15 - (distance / 70) ** 2 / (0.12 + 3 * returned), 0., 0.985)
    kept = (rng.random(len(distance)) < chance) & (distance < RANGE)
    distance, face, beams = distance[kept], face[kept], beams[kept]
    noise = np.clip(rng.standard_normal(len(distance)) * NOISE, -2.5 * NOISE, 2.5 * NOISE)
    unit = directions[kept] / length[kept, None]
    points = (unit * (distance + noise)[:, None]) @ rays.turn
    intensity = np.clip(returned[kept] * 150 * rng.uniform(0.8, 1.2, len(distance)), 1, 255)
    return np.column_stack([points, np.rint(intensity), beams]).astype(np.float32), face
