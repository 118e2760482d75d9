"""The road of a scene: a gently winding line, and paths along it."""
import numpy as np

#: metres from the middle: the lanes end, the kerb, the houses begin
ROAD, KERB, HOUSES = 7.8, 12.6, 16.8
STEP = 0.5


class Road:
    """A line in the plane that winds, given by its heading every ``STEP`` metres.

    Args:
        rng (numpy.random.Generator): where it lies and how it winds.
        start: metres along it at which it begins.
        end: and ends.
    """

    def __init__(self, rng, start, end):
        self.places = np.arange(start, end + STEP, STEP)
        heading = np.full(len(self.places), rng.uniform(-np.pi, np.pi))
        for length in rng.uniform([90., 170.], [150., 320.]):
            swing = rng.uniform(0.1, 0.3) * length / 200
            heading += swing * np.sin(2 * np.pi * (self.places / length + rng.random()))
        middle = heading[:-1] + np.diff(heading) / 2
        self.heading = heading
        origin = rng.uniform(300., 1500., 2)
        self.x = origin[0] + np.r_[0., np.cumsum(np.cos(middle) * STEP)]
        self.y = origin[1] + np.r_[0., np.cumsum(np.sin(middle) * STEP)]

    def point(self, place, left):
        """x, y and the road's heading, ``left`` metres to the left of the line at ``place``."""
        heading = np.interp(place, self.places, self.heading)
        x = np.interp(place, self.places, self.x) - left * np.sin(heading)
        y = np.interp(place, self.places, self.y) + left * np.cos(heading)
        return x, y, heading

    def stretch(self, place, left):
        """How many metres of the line one metre takes, ``left`` metres beside it in a bend; 1 or
        more."""
        bend = np.interp(place, self.places, np.gradient(self.heading, STEP))
        return 1 / np.clip(1 - bend * left, 0.5, 1.)

    def along(self, path, time):
        """x, y, yaw and speed at a time, of paths as ``path`` describes them."""
        place, speed = travelled(path, time)
        wave = path['place'] + place
        phase = 2 * np.pi * (wave / path['sway_length'] + path['sway_phase'])
        left = path['left'] + path['sway'] * np.sin(phase)
        slope = 2 * np.pi * path['sway'] / path['sway_length'] * np.cos(phase)
        x, y, heading = self.point(wave, left)
        yaw = heading + path['turn'] + np.arctan(slope) * (path['speed'] != 0)
        return x, y, yaw + np.pi * (path['speed'] < 0), np.abs(speed)


def travelled(path, time):
    """Metres since time 0 and speed of paths whose speed rises and falls by a share ``pulse``."""
    rate = 2 * np.pi / path['pulse_time']
    angle = rate * time + path['pulse_phase']
    distance = time + path['pulse'] / rate * (np.sin(angle) - np.sin(path['pulse_phase']))
    return path['speed'] * distance, path['speed'] * (1 + path['pulse'] * np.cos(angle))


def path(place, left, speed=0., turn=0., sway=0., sway_length=50., sway_phase=0., pulse=0.,
         pulse_time=10., pulse_phase=0.):
    """A path along a road.

    Args:
        place: metres along the road at time 0.
        left: metres to the left of its middle.
        speed: metres per second along it, negative against it, 0 for what stands.
        turn: radians between the road and the thing's front.
        sway: metres to both sides, every ``sway_length`` metres.
        pulse: how much, as a share, the speed rises and falls in ``pulse_time`` seconds.
    """
    return dict(locals())
