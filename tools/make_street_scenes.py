"""Draw small data sets in the layouts of Cityscapes, Pascal VOC 2012 and COCO 2017.

    python tools/make_street_scenes.py cityscapes data/street_scenes --train 400 --val 100
    python tools/make_street_scenes.py voc data/object_scenes --size 160x128
    python tools/make_street_scenes.py coco data/things --classes person car dog
"""
import argparse
import re

from mmkd.datasets.drawn import write_cityscapes, write_coco, write_voc

SIZES = dict(cityscapes=(256, 128), coco=(192, 144), voc=(128, 128))
WRITERS = dict(cityscapes=write_cityscapes, coco=write_coco, voc=write_voc)


def size(text):
    """WxH as two numbers."""
    match = re.fullmatch(r'(\d+)[xX](\d+)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r}: expected WIDTHxHEIGHT, such as 256x128')
    return int(match[1]), int(match[2])


def build_parser():
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Draw a small data set in the layout of Cityscapes (street scenes, 19 '
                    'classes), Pascal VOC 2012 (objects, 20 classes and background) or COCO 2017 '
                    '(many objects with boxes and masks). The same arguments always give the same '
                    'files; a finished tree is left as it is, and a folder that holds other files '
                    'is never touched.')
    parser.add_argument('layout', choices=sorted(SIZES), help='whose folders and files to write')
    parser.add_argument('root', help='where to; made if missing (VOC: gets VOCdevkit/VOC2012)')
    parser.add_argument('--train', type=int, default=400, metavar='N',
                        help='training pictures (default: %(default)s)')
    parser.add_argument('--val', type=int, default=100, metavar='N',
                        help='validation pictures (default: %(default)s)')
    parser.add_argument('--aug', type=int, metavar='N',
                        help='voc only: extra training pictures, listed in aug.txt '
                             '(default: as many as --train)')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help="coco only: which classes occur, by COCO's names (default: all twenty "
                             'that can be drawn)')
    parser.add_argument('--size', type=size, metavar='WxH',
                        help='picture size '
                             '(default: cityscapes 256x128, coco 192x144, voc 128x128)')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='source of every choice (default: %(default)s)')
    return parser


def main(argv=None):
    """Run the command; bad arguments end it with exit code 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    width, height = args.size or SIZES[args.layout]
    options = dict(train=args.train, val=args.val, width=width, height=height, seed=args.seed)
    for option, layout in (('aug', 'voc'), ('classes', 'coco')):
        value = getattr(args, option)
        if args.layout == layout:
            options[option] = value
        elif value is not None:
            parser.error(f'argument --{option}: only {layout} takes it')
    try:
        data_root = WRITERS[args.layout](args.root, **options)
    except ValueError as error:
        parser.error(str(error))
    library = 'mmdet' if args.layout == 'coco' else 'mmseg'
    print(f'The pictures are in {data_root}. In a config that inherits from {library}, use:')
    print(f'data_root={data_root!r}')


if __name__ == '__main__':
    main()
