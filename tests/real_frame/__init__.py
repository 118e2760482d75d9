"""A real nuScenes sample: six cameras, LIDAR_TOP and mmdet3d's info file.

It is read in place and none of it is part of the repository: see :mod:`tests.real_frame.frame`.
"""
