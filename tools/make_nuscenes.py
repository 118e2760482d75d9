"""Draw a small data set in nuScenes' layout: six cameras, a laser scanner, boxes, info files.

    python tools/make_nuscenes.py data/nuscenes
    python tools/make_nuscenes.py data/tiny --train 2 --val 1 --keyframes 4 --size 256x144
"""
import argparse

import _quiet  # noqa: F401  (Ctrl-C in one line)
from make_street_scenes import size

from mmkd.datasets.drawn import write_nuscenes


def build_parser():
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Draw drives through streets as nuScenes stores them: the thirteen tables, six '
                    "cameras, LIDAR_TOP with sweeps, and mmdet3d's info files. All ten detection "
                    'classes occur in each scene. The same arguments always give the same files; '
                    'a finished tree is left as it is, and a folder that holds other files is '
                    'never touched.')
    parser.add_argument('root', help='where to; made if missing')
    parser.add_argument('--train', type=int, default=10, metavar='N',
                        help='training scenes (default: %(default)s)')
    parser.add_argument('--val', type=int, default=2, metavar='N',
                        help='validation scenes (default: %(default)s)')
    parser.add_argument('--keyframes', type=int, default=40, metavar='N',
                        help='annotated moments of each scene, half a second apart '
                             '(default: %(default)s)')
    parser.add_argument('--size', type=size, default=(352, 198), metavar='WxH',
                        help='picture size (default: 352x198; nuScenes has 1600x900)')
    parser.add_argument('--sweeps', type=int, default=2, metavar='N',
                        help='scans of the laser between keyframes (default: %(default)s)')
    parser.add_argument('--reach', type=float, default=31., metavar='M',
                        help='metres from the car within which things are annotated '
                             '(default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='source of every choice (default: %(default)s)')
    parser.add_argument('--version', choices=['v1.0-trainval', 'v1.0-mini'],
                        default='v1.0-trainval',
                        help="whose scenes' names to use; mini has 8 and 2 (default: %(default)s)")
    parser.add_argument('--no-infos', action='store_true',
                        help="leave out mmdet3d's nuscenes_infos_{train,val}.pkl")
    parser.add_argument('--workers', type=int, default=1, metavar='N',
                        help='processes that draw (default: %(default)s); they change no file')
    return parser


def main(argv=None):
    """Run the command; bad arguments end it with exit code 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        data_root = write_nuscenes(
            args.root, args.train, args.val, args.keyframes, *args.size, sweeps=args.sweeps,
            seed=args.seed, reach=args.reach, version=args.version, infos=not args.no_infos,
            workers=args.workers)
    except ValueError as error:
        parser.error(str(error))
    except RuntimeError as error:
        parser.exit(1, f'error: {error}\n')
    print(f'The data are in {data_root}. In a config that inherits from mmdet3d, use:')
    print(f'data_root={data_root!r}')


if __name__ == '__main__':
    main()
