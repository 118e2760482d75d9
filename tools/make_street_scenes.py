"""Draw small data sets in the layouts of Cityscapes and Pascal VOC 2012.

    python tools/make_street_scenes.py cityscapes data/street_scenes --train 400 --val 100
    python tools/make_street_scenes.py voc data/object_scenes --size 160x128
"""
import argparse
import re

from mmkd.datasets.drawn import write_cityscapes, write_voc

SIZES = dict(cityscapes=(256, 128), voc=(128, 128))


def size(text):
    """WxH as two numbers."""
    match = re.fullmatch(r'(\d+)[xX](\d+)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r}: expected WIDTHxHEIGHT, such as 256x128')
    return int(match[1]), int(match[2])


def build_parser():
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Draw a small data set in the layout of Cityscapes (street scenes, 19 classes) '
                    'or Pascal VOC 2012 (objects, 20 classes and background). The same arguments '
                    'always give the same files; a finished tree is left as it is, and a folder '
                    'that holds other files is never touched.')
    parser.add_argument('layout', choices=sorted(SIZES), help='whose folders and files to write')
    parser.add_argument('root', help='where to; made if missing (VOC: gets VOCdevkit/VOC2012)')
    parser.add_argument('--train', type=int, default=400, metavar='N',
                        help='training pictures (default: %(default)s)')
    parser.add_argument('--val', type=int, default=100, metavar='N',
                        help='validation pictures (default: %(default)s)')
    parser.add_argument('--aug', type=int, metavar='N',
                        help='voc only: extra training pictures, listed in aug.txt '
                             '(default: as many as --train)')
    parser.add_argument('--size', type=size, metavar='WxH',
                        help='picture size (default: cityscapes 256x128, voc 128x128)')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='source of every choice (default: %(default)s)')
    return parser


def main(argv=None):
    """Run the command; bad arguments end it with exit code 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    width, height = args.size or SIZES[args.layout]
    options = dict(train=args.train, val=args.val, width=width, height=height, seed=args.seed)
    if args.layout == 'voc':
        options['aug'] = args.aug
    elif args.aug is not None:
        parser.error('argument --aug: only voc has an extra training set')
    write = dict(cityscapes=write_cityscapes, voc=write_voc)[args.layout]
    try:
        data_root = write(args.root, **options)
    except ValueError as error:
        parser.error(str(error))
    print(f'The pictures are in {data_root}. In a config that inherits from mmseg, use:')
    print(f'data_root={data_root!r}')


if __name__ == '__main__':
    main()
