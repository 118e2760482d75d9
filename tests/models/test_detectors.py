"""Semantic names of every family of mmdet: the right module, the right shapes, in both modes."""
import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import mmdet
from mmkd.models.no_trace import twin_of
from mmkd.models.recorder import Recorder
from mmkd.models.taps import Source
from tests.detectors import CLASSES, WIDTH, small_detector

#: names of a head's towers and of RoIs, which have tests of their own
TOWERS = ('cls_tower', 'reg_tower')
ONE_STAGE = ('backbone', 'neck', 'neck_convs', 'cls', 'reg')
TWO_STAGE = ('backbone', 'neck', 'neck_convs', 'rpn_cls', 'rpn_reg', 'rois', 'roi', 'roi_cls',
             'roi_reg')
QUERIES = ('backbone', 'neck', 'neck_convs', 'decoder', 'query_cls', 'query_boxes')
HAS = dict(
    retinanet=ONE_STAGE, gfl=ONE_STAGE, atss=(*ONE_STAGE, 'centerness'),
    fcos=(*ONE_STAGE, 'centerness'), reppoints=ONE_STAGE, faster=TWO_STAGE, cascade=TWO_STAGE,
    mask=(*TWO_STAGE, 'mask_rois', 'mask'), yolox=(*ONE_STAGE, 'objectness'), rtmdet=ONE_STAGE,
    detr=QUERIES, deformable=QUERIES, dino=QUERIES,
    solo=('backbone', 'neck', 'neck_convs', 'cls', 'mask'),
    solov2=('backbone', 'neck', 'neck_convs', 'cls', 'mask'),
    condinst=(*ONE_STAGE, 'centerness', 'mask'))
FPN, MAX_POOLED = [8, 16, 32, 64, 128], [4, 8, 16, 32, 64]
#: kind -> strides of its neck, of its backbone where the neck reads others
STRIDES = dict(
    dict.fromkeys(('retinanet', 'gfl', 'atss', 'fcos', 'reppoints', 'condinst'), FPN),
    **dict.fromkeys(('faster', 'cascade', 'mask', 'solo', 'solov2'), MAX_POOLED),
    **dict.fromkeys(('yolox', 'rtmdet'), [8, 16, 32]), detr=[32], deformable=[8, 16, 32, 64],
    dino=[8, 16, 32, 64])
CHANNELS = dict(yolox=96, rtmdet=96, detr=256, deformable=256, dino=256)
#: kind -> paths of modules -> the name that stands for what these give, one level after the other
MODULES = dict(
    retinanet=dict(cls='bbox_head.retina_cls', reg='bbox_head.retina_reg'),
    gfl=dict(cls='bbox_head.gfl_cls', reg='bbox_head.scales.*'),
    atss=dict(cls='bbox_head.atss_cls', reg='bbox_head.scales.*',
              centerness='bbox_head.atss_centerness'),
    fcos=dict(cls='bbox_head.conv_cls', reg='bbox_head.scales.*',
              centerness='bbox_head.conv_centerness'),
    reppoints=dict(cls='bbox_head.reppoints_cls_out',
                   reg='bbox_head.reppoints_pts_refine_out'),
    faster=dict(rpn_cls='rpn_head.rpn_cls', rpn_reg='rpn_head.rpn_reg'),
    yolox=dict(cls='bbox_head.multi_level_conv_cls.*', reg='bbox_head.multi_level_conv_reg.*',
               objectness='bbox_head.multi_level_conv_obj.*'),
    rtmdet=dict(cls='bbox_head.rtm_cls.*', reg='bbox_head.rtm_reg.*'),
    solo=dict(cls='mask_head.conv_cls', mask='mask_head.conv_mask_list.*'),
    condinst=dict(cls='bbox_head.conv_cls', reg='bbox_head.scales.*',
                  centerness='bbox_head.conv_centerness'))
ALL = [name for name in mmdet.MEANINGS if not name.startswith(TOWERS)]


@pytest.fixture(scope='module', autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.fixture(scope='module')
def runs():
    """(kind, training) -> (model, DryRun of all names), each made once."""
    made, models = {}, {}

    def run(kind, training):
        if (kind, training) not in made:
            torch.manual_seed(0)
            if kind not in models:
                models[kind] = MODELS.build(small_detector(kind))
            made[kind, training] = models[kind], DryRun(
                models[kind], mmdet, kind, list(mmdet.MEANINGS), training)
        return made[kind, training]
    return run


def rounded(run, value):
    return [round(run.size / x.shape[-1]) for x in value]


@pytest.mark.parametrize('training', (True, False))
@pytest.mark.parametrize('kind', HAS)
def test_a_family_has_its_names_and_no_others(runs, kind, training):
    _, run = runs(kind, training)
    assert {name for name in ALL if name in run.taps} == set(HAS[kind])
    for name in ALL:
        assert name in run.taps or f'has no {name!r}' in run.errors[name]


@pytest.mark.parametrize('training', (True, False))
@pytest.mark.parametrize('kind', HAS)
def test_shapes_and_strides(runs, kind, training):
    model, run = runs(kind, training)
    given, strides = run.examples, STRIDES[kind]
    wide = CHANNELS.get(kind, WIDTH)
    assert rounded(run, given['neck']) == strides
    assert [x.shape[1] for x in given['neck']] == [wide] * len(strides)
    # ... of the backbone what the neck reads, and nothing that it makes.
    inner = [stride for stride in (4, 8, 16, 32) if stride in strides]
    assert rounded(run, given['backbone']) == inner
    if kind not in ('detr', 'deformable', 'dino'):  # those have a neck of another kind
        made = strides[:4] if strides is MAX_POOLED else strides
        assert rounded(run, given['neck_convs']) == made
    anchors = 9 if kind == 'retinanet' else 1
    for name, channels in dict(cls=CLASSES * anchors, centerness=1, objectness=1).items():
        if name in HAS[kind]:
            assert [x.shape[:2] for x in given[name]] == [(2, channels)] * len(strides)
            if not kind.startswith('solo'):  # those have a grid of their own
                assert rounded(run, given[name]) == strides
    if 'reg' in HAS[kind]:
        sides = dict(retinanet=36, gfl=68, reppoints=18).get(kind, 4)
        assert [x.shape[1] for x in given['reg']] == [sides] * len(strides)
    if 'roi' in HAS[kind]:
        count = len(given['rois'])
        assert given['rois'].shape == (count, 5) and given['roi'].shape == (count, wide, 7, 7)
        assert given['roi_cls'].shape == (count, CLASSES + 1)
        assert given['roi_reg'].shape == (count, 4 if kind == 'cascade' else 4 * CLASSES)
        assert [x.shape[1] for x in given['rpn_cls']] == [3] * 5
    if 'decoder' in HAS[kind]:
        count = model.num_queries
        background = int(kind == 'detr')
        assert given['decoder'].shape == (2, 256, count, 1)
        assert given['query_cls'].shape == (2, CLASSES + background, count, 1)
        assert given['query_boxes'].shape == (2, 4, count, 1)


@pytest.mark.parametrize('kind', MODULES)
def test_the_right_modules(runs, kind):
    """What a name gives is what the convolution gives, call by call or level by level."""
    model, run = runs(kind, True)
    paths = {name: [f'{path[:-1]}{i}' for i in range(len(model.get_submodule(path[:-2])))]
             if path.endswith('.*') else [path] for name, path in MODULES[kind].items()}
    sources = {Source(path) for each in paths.values() for path in each}
    taps = {name: run.taps[name] for name in paths}
    sources |= {source for tap in taps.values() for source in tap.sources}
    with Recorder(twin := twin_of(model).train(), sources) as recorder:
        twin.loss(*copy.deepcopy(run.batch))
    for name, each in paths.items():
        expected = [x for path in each for x in recorder.calls[Source(path)]]
        found = taps[name].read(recorder.calls)
        assert len(found) == len(expected) == len(STRIDES[kind])
        assert all(one is other for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize('kind', HAS)
def test_training_and_inference_give_the_same_tensors(runs, kind):
    """With equal weights, in eval but for what asks whether it is trained; RoIs are shared."""
    model, _ = runs(kind, True)
    taps = {name: runs(kind, True)[1].taps[name] for name in HAS[kind]}
    assert taps == {name: runs(kind, False)[1].taps[name] for name in HAS[kind]}
    sources = {source for tap in taps.values() for source in tap.sources}
    batch, read, shared = runs(kind, True)[1].batch, [], {}
    for training in (True, False):
        twin = twin_of(model).eval()
        for path in ('', 'bbox_head', 'mask_head', 'rpn_head', 'roi_head'):
            if path in dict(twin.named_modules()):
                twin.get_submodule(path).training = training
        torch.manual_seed(1)
        with torch.no_grad(), Recorder(twin, sources) as recorder:
            if training:
                twin.loss(*copy.deepcopy(batch))
            else:
                mmdet.forward(twin, *copy.deepcopy(batch), [s.path for s in sources], shared)
        read.append({name: tap.read(recorder.calls) for name, tap in taps.items()})
        shared = {name: read[0][name] for name in ('rois', 'mask_rois') if name in read[0]}
    for name in HAS[kind]:
        pairs = zip(*(value if isinstance(value, list) else [value] for value in (
            side[name] for side in read)), strict=True)
        assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in pairs), name


@pytest.mark.parametrize('kind', ('faster', 'cascade', 'mask'))
def test_rois_of_a_teacher_are_the_students(runs, kind):
    """Other weights propose other boxes, but RoI features are compared row by row."""
    model, run = runs(kind, True)
    torch.manual_seed(5)
    other = MODELS.build(small_detector(kind)).eval()
    wanted = [name for name in ('rois', 'roi', 'roi_cls', 'roi_reg') if name in run.taps]
    rois = run.examples['rois']
    shared = dict(rois=rois, **({'mask_rois': run.examples['mask_rois']} if kind == 'mask' else {}))
    taught = DryRun(other, mmdet, 'teacher', [*wanted, *(['mask'] if kind == 'mask' else [])],
                    False, shared=shared)
    assert not taught.errors and torch.equal(taught.examples['rois'], rois)
    assert len(taught.examples['roi_cls']) == len(taught.examples['roi']) == len(rois)
    if kind == 'mask':
        assert len(taught.examples['mask']) == len(shared['mask_rois'])
    assert not torch.equal(taught.examples['roi_cls'], run.examples['roi_cls'])


def test_dino_is_read_without_its_denoising_queries(runs):
    model, run = runs('dino', True)
    source = Source('bbox_head.cls_branches.5')  # of the last layer, denoising queries first
    sources = {source, *run.taps['query_cls'].sources}
    with Recorder(twin_of(model).train(), sources) as recorder:
        recorder.model.loss(*copy.deepcopy(run.batch))
    whole = recorder.calls[source][-1]
    found = run.taps['query_cls'].read(recorder.calls)
    assert whole.shape[1] > model.num_queries == found.shape[2]
    assert torch.equal(found[..., 0], whole[:, -model.num_queries:].transpose(1, 2))


@pytest.mark.parametrize('kind, towers', dict(
    retinanet=4, gfl=4, atss=4, fcos=4, reppoints=3).items())
def test_towers_are_read_after_the_norm_and_before_the_activation(runs, kind, towers):
    model, run = runs(kind, True)
    names = [f'{branch}_tower.{i}' for branch in ('cls', 'reg') for i in range(1, towers + 1)]
    assert [name for name in run.taps if name.startswith(TOWERS)] == names
    sources = {source for name in names for source in run.taps[name].sources}
    with Recorder(twin_of(model), sources, run.clone) as recorder:
        recorder.model.loss(*copy.deepcopy(run.batch))
    for name in names:
        branch, number = name.split('_tower.')
        conv = f'bbox_head.{branch}_convs.{int(number) - 1}'
        assert [source.path for source in run.taps[name].sources] == [f'{conv}.activate']
        assert rounded(run, run.examples[name]) == STRIDES[kind]
        assert all((x < 0).any() for x in run.taps[name].read(recorder.calls))  # not yet a ReLU


@pytest.mark.parametrize('kind', ('retinanet', 'faster'))
def test_some_levels_of_a_name(runs, kind):
    model, run = runs(kind, True)
    some = DryRun(model, mmdet, 'it', ['neck[:3]', 'neck[1:]', 'neck[0]'], True)
    assert rounded(run, some.examples['neck[:3]']) == STRIDES[kind][:3]
    assert rounded(run, some.examples['neck[1:]']) == STRIDES[kind][1:]
    assert some.examples['neck[0]'].shape == run.examples['neck'][0].shape
