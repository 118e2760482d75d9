"""The car's sensors: six cameras and a laser scanner, placed as on nuScenes' cars.

All of them look at one instant: there is no time between the laser's columns or the cameras.
"""
from dataclasses import dataclass

import numpy as np

from .turns import about, joined, matrix

#: yaw in degrees; metres forward, left and up from the rear axle; focal length in widths
CAMERAS = dict(
    CAM_FRONT=(0., (1.70, 0.00, 1.51), 0.790),
    CAM_FRONT_RIGHT=(-56., (1.55, -0.49, 1.50), 0.790),
    CAM_FRONT_LEFT=(55., (1.52, 0.49, 1.51), 0.790),
    CAM_BACK=(180., (0.03, 0.00, 1.58), 0.505),
    CAM_BACK_LEFT=(109., (1.03, 0.48, 1.59), 0.790),
    CAM_BACK_RIGHT=(-110., (1.01, -0.48, 1.56), 0.790))
LIDAR = 'LIDAR_TOP'
LIDAR_PLACE = (0.94, 0.0, 1.84)
#: a camera's axes (x right, y down, z ahead) in those of a car (x ahead, y left, z up)
AHEAD = np.array([0.5, -0.5, 0.5, -0.5])
BEAMS = np.radians(np.linspace(-30.67, 10.67, 32))  # of a 32-beam scanner


@dataclass
class Sensor:
    """Where a sensor sits on the car and, of a camera, how it projects.

    Attributes:
        name (str): nuScenes' channel.
        turn: (4,) quaternion, sensor to car. A camera looks along its z, x right and y down; the
            scanner's x is the car's right, y its front.
        translation: (3,) metres, sensor to car.
        intrinsic: (3, 3), for pixels whose centers have whole coordinates; None for the scanner.
    """

    name: str
    turn: np.ndarray
    translation: np.ndarray
    intrinsic: np.ndarray = None


def make_sensors(rng, width, height):
    """The seven sensors of one car, mounted a little askew.

    Args:
        rng (numpy.random.Generator): how askew.
        width (int): the cameras' pictures, in pixels.
        height (int): of them.

    Returns:
        list of Sensor: the cameras and, last, the scanner.
    """
    sensors = []
    for name, (yaw, place, focal) in CAMERAS.items():
        turn = joined(about((0, 0, 1), np.radians(yaw)), AHEAD)
        focal *= width * rng.uniform(0.995, 1.005)
        middle = np.array([width * 0.508, height * 0.542]) + rng.uniform(-1, 1, 2) * width / 160
        intrinsic = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
        sensors.append(Sensor(name, joined(_askew(rng), turn), _shaken(rng, place), intrinsic))
    turn = about((0, 0, 1), -np.pi / 2)
    sensors.append(Sensor(LIDAR, joined(_askew(rng), turn), _shaken(rng, LIDAR_PLACE)))
    return sensors


def _askew(rng):
    """A turn of about half a degree around any axis."""
    return about(rng.standard_normal(3), np.radians(rng.uniform(0, 0.8)))


def _shaken(rng, place):
    return np.asarray(place) + rng.uniform(-0.02, 0.02, 3)


@dataclass
class Rays:
    """A sensor's rays, in the world's axes, from the sensor: those of row r and column c go along
    ``across[c] + down[r]``.

    Attributes:
        origin: (3,) the sensor, in metres from the point around which faces are given.
        turn: (3, 3) sensor to world.
        across: (W, 3).
        down: (H, 3).
        intrinsic: of a camera; its rays are 1 long along the optical axis, the scanner's along
            the ground.
    """

    origin: np.ndarray
    turn: np.ndarray
    across: np.ndarray
    down: np.ndarray
    intrinsic: np.ndarray = None

    @property
    def shape(self):
        return len(self.down), len(self.across)

    def directions(self):
        """(H, W, 3) float32."""
        return (self.across[None] + self.down[:, None]).astype(np.float32)


def aim(sensor, yaw, columns, rows):
    """A sensor's rays when the car points to ``yaw`` at the origin.

    Args:
        sensor (Sensor): which one.
        yaw (float): radians.
        columns (int): width of the picture, or steps of the scanner's turn.
        rows (int): height of the picture; the scanner has its 32 beams.
    """
    car = matrix(about((0, 0, 1), yaw))
    turn = car @ matrix(sensor.turn)
    across, down = np.zeros((columns, 3)), np.zeros((rows, 3))
    if sensor.intrinsic is None:
        angle = 2 * np.pi * (np.arange(columns) + 0.5) / columns - np.pi
        across[:, 0], across[:, 1] = np.cos(angle), np.sin(angle)
        down[:, 2] = np.tan(BEAMS)
    else:
        focal, _, right = sensor.intrinsic[0]
        across[:, 0] = (np.arange(columns) - right) / focal
        down[:, 1] = (np.arange(rows) - sensor.intrinsic[1, 2]) / sensor.intrinsic[1, 1]
        down[:, 2] = 1
    return Rays(car @ sensor.translation, turn, across @ turn.T, down @ turn.T,
                sensor.intrinsic)
