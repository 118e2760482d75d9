"""What the zoo script has to know of each library: all that differs between them."""
from dataclasses import dataclass, field

#: what does not make another model: weights, classes, sizes, how it is tested
_IGNORED = {'pretrained', 'init_cfg', 'checkpoint', 'num_classes', 'class_weight', 'test_cfg',
            'depth', 'img_size', 'size', 'drop_path_rate', 'norm_cfg', 'num_layers', 'depths',
            'loss_weight', 'dataset_name', 'min_kept', 'pretrain_img_size', '_scope_',
            'test_crop_size', 'sampler', 'align_corners'}
_IGNORED_OF_DETECTORS = {
    'data_preprocessor', 'arch', 'style', 'norm_eval', 'convert_weights', 'with_cp',
    'language_model', 'zero_init_residual'}


@dataclass(frozen=True)
class Zoo:
    """A library's zoo.

    Attributes:
        file: Name of its files of results.
        terms: Name of a term -> (semantic names to tap, the first that the model has; the term).
        sizes: Images (H, W) to try, besides those that the model asks for.
        layers: Most layers of a transformer's part.
        ignored: Keys of a model dict that do not make another model.
        numbers_ignored: Nor do numbers: widths, thresholds, anchors.
        smaller: What is made smaller, in the order in which it is tried: the first that trains
            is taken. 'narrow': an eighth of the width; 'coarsen': larger voxels, fewer points.
        few: Few queries, candidates and RoIs.
        awake: Layers that start near zero get weights as others have, or a detector's scores
            would hardly depend on the input.
        all_terms: A model without a term's tensor is told so; else it has one term less.
        package: What pip calls the library, where that is another name.
        optional: Packages that some of its models are built of, if they are installed.
        reasons: (what an error says, as a regular expression; why that is): counted.
    """
    file: str
    terms: dict
    sizes: tuple = ()
    layers: dict = field(default_factory=dict)
    ignored: frozenset = frozenset(_IGNORED | _IGNORED_OF_DETECTORS)
    numbers_ignored: bool = True
    smaller: tuple = (('narrow',), ())
    few: bool = True
    awake: bool = True
    all_terms: bool = False
    package: str = ''
    optional: tuple = ()
    reasons: tuple = ()


ZOOS = dict(
    mmseg=Zoo(
        'zoo', dict(
            logits=(('logits', 'depth'), dict(loss=dict(type='mmkd.CWDLoss'))),
            backbone=(('backbone',), dict(
                loss=dict(type='mmkd.FitNetLoss'),
                student_connector=dict(type='mmkd.ConvConnector')))),
        sizes=((64, 96), (128, 192), (256, 256), (512, 512)),
        # one for each of the levels that the decoder reads in turn
        layers=dict(encoder=3, transformer_decoder=3),
        ignored=frozenset(_IGNORED), numbers_ignored=False, smaller=((),), few=False,
        awake=False, all_terms=True, package='mmsegmentation'),
    mmdet=Zoo(
        'zoo_mmdet', dict(
            neck=(('neck', 'backbone'), dict(loss=dict(type='mmkd.PKDLoss'))),
            head=(('cls', 'query_cls', 'rpn_cls'), dict(loss=dict(type='mmkd.CWDLoss'))),
            roi=(('roi_cls',), dict(loss=dict(type='mmkd.DeFeatRoILoss')))),
        sizes=((128, 192), (256, 256), (512, 512)),
        # the last and one more
        layers=dict(encoder=2, decoder=2, transformer_decoder=3)),
    mmdet3d=Zoo(
        'zoo_mmdet3d', dict(
            bev=(('bev',), dict(loss=dict(type='mmkd.PKDLoss'))),
            image=(('neck', 'backbone'), dict(loss=dict(type='mmkd.PKDLoss'))),
            head=(('heatmap', 'cls', 'rpn_cls'), dict(loss=dict(type='mmkd.CWDLoss')))),
        smaller=(('narrow', 'coarsen'), ('coarsen',), ()), optional=('spconv',),
        reasons=(
            ('is no model of a library', 'segments points: no detector'),
            ('nothing that these terms compare', 'trains, but works on points alone: no map seen '
             'from above, no image features, no dense scores'),
            ('MinkowskiEngine', 'needs MinkowskiEngine'),
            ('[Tt]orchsparse', 'needs TorchSparse'),
            # the last is mmdet's focal loss, which knows -1 for the background on a GPU alone
            ('CUDA|cuda|implementation for device cpu|Class values must be non-negative',
             'mmcv or mmdet3d computes something on a GPU alone'))))


__all__ = ['ZOOS', 'Zoo']
