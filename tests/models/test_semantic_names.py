"""Semantic names keep their definition, or are absent and say so."""
import copy

import mmseg.models.decode_heads as decode_heads
import pytest
import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.libraries._tables import entry_of
from mmkd.models.libraries.mmseg_masks import class_map
from mmkd.models.libraries.mmseg_names import _CONTEXT
from mmkd.models.recorder import Recorder
from mmkd.models.taps import Source
from mmkd.models.teacher import build_teacher
from tests.helpers import build, save_teacher, tiny_distiller, tiny_segmentor
from tests.models.small_models import (
    CLASSES,
    mask2former,
    maskformer,
    tensors_without_chance,
)
from tests.models.test_libraries import family, step


def dry_run(model, training, names=None):
    library = library_of(model)
    return DryRun(model, library, 'model', names or list(library.MEANINGS), training)


# ---- context --------------------------------------------------------------------------
def test_every_decode_head_of_mmseg_has_a_context_module_or_is_known_to_have_none():
    without = {'FCNHead', 'FPNHead', 'DepthwiseSeparableFCNHead', 'PointHead', 'SETRUPHead',
               'SETRMLAHead', 'DPTHead', 'SegmenterMaskTransformerHead', 'SegformerHead',
               'STDCHead', 'IterativeDecodeHead', 'DDRHead', 'PIDHead', 'VPDDepthHead',
               'SideAdapterCLIPHead', 'Mask2FormerHead', 'MaskFormerHead',
               'KernelUpdateHead', 'KernelUpdator'}  # parts of K-Net's
    for name in decode_heads.__all__:
        head = getattr(decode_heads, name)
        known = any(cls.__name__ in _CONTEXT for cls in head.__mro__)
        assert known != (name in without), name


@pytest.mark.parametrize('name, path, item', [
    ('OCRNet', 'decode_head.1.object_context_block', None),
    ('EncNet', 'decode_head.enc_module', 1), ('ANN', 'decode_head.context', None),
    ('CCNet', 'decode_head.cca', None), ('DNL', 'decode_head.dnl_block', None),
    ('NonLocal', 'decode_head.nl_block', None), ('GCNet', 'decode_head.gc_block', None)])
@pytest.mark.parametrize('training', [True, False])
def test_context_is_what_the_context_block_gives(name, path, item, training):
    model = build(family(name)[0])
    library, run = library_of(model), dry_run(model, training)
    got = tensors_without_chance(model, library, run, training)['context']
    twin = copy.deepcopy(model).eval()
    torch.manual_seed(8)
    batch = library.make_batch(twin, (run.size, run.size))
    with torch.no_grad(), Recorder(twin, [Source(path)]) as recorder:
        library.forward(twin, *batch)
    value = recorder.calls[Source(path)][-1]
    torch.testing.assert_close(got, value if item is None else value[item])


def test_a_head_of_ones_own_inherits_its_context():
    class OwnHead(MMSEG_MODELS.get('PSPHead')):
        pass
    assert entry_of(_CONTEXT, OwnHead.__new__(OwnHead)) == 'bottleneck'


# ---- logits and backbone where training gives more ------------------------------------
class _Deep(BaseDecodeHead):
    """In training the coarse map comes first, or last, or the wanted one lies deep."""

    def __init__(self, give='first', **kwargs):
        super().__init__(**kwargs)
        self.give = give
        self.refine = torch.nn.Conv2d(self.num_classes, self.num_classes, 3, padding=1)

    def forward(self, inputs):
        coarse = self.cls_seg(self._transform_inputs(inputs))
        fine = self.refine(coarse)
        if not self.training:
            return fine
        return dict(first=[fine, coarse], last=[coarse, fine], middle=[coarse, fine, coarse])[
            self.give]

    def loss_by_feat(self, seg_logits, batch_data_samples):
        return super().loss_by_feat(sum(seg_logits), batch_data_samples)


@pytest.mark.parametrize('give', ['first', 'last', 'middle'])
def test_logits_are_those_of_inference_wherever_training_puts_them(give):
    cfg = tiny_segmentor()
    head = cfg['decode_head']
    cfg['decode_head'] = dict(
        type=_Deep, give=give, channels=head['in_channels'],
        **{key: head[key] for key in ('in_channels', 'in_index', 'num_classes')})
    model = build(cfg)
    student, teacher = dry_run(model, True), dry_run(model, False)
    assert str(student.taps['logits']) == 'decode_head.refine'
    read = [tensors_without_chance(model, library_of(model), run, training)['logits']
            for run, training in ((student, True), (teacher, False))]
    torch.testing.assert_close(*read)


def test_backbone_is_what_the_head_reads():
    for name, tap in (('BiSeNetV2', 'backbone[0]'), ('BiSeNetV1', 'backbone[0]'),
                      ('ICNet', 'backbone[-1]')):
        model = build(family(name)[0])
        assert str(dry_run(model, True).taps['backbone']) == tap
    cfg = tiny_segmentor()
    cfg['decode_head'].update(in_index=1, in_channels=16)
    run = dry_run(build(cfg), True)
    assert run.examples['backbone'].shape[1] == run.examples['backbone_pre_relu'].shape[1] == 16
    assert run.taps['backbone_pre_relu'].source.path == 'backbone.layer2.1.relu'


def test_only_a_resnet_has_a_backbone_pre_relu():
    for name in ('OCRNet-HR', 'BiSeNetV2', 'Swin'):
        assert 'backbone_pre_relu' not in dry_run(build(family(name)[0]), False).taps


# ---- class maps of queries ------------------------------------------------------------
@pytest.mark.parametrize('model', [mask2former, maskformer])
def test_the_derived_logits_are_the_class_map_of_predict(model):
    model = build(model()).eval()
    library = library_of(model)
    run = dry_run(model, False, ['logits'])
    inputs, samples = library.make_batch(model, (64, 64))
    source = run.taps['logits'].source
    with torch.no_grad(), Recorder(model, [source]) as recorder:
        library.forward(model, inputs, samples)
        logits = run.taps['logits'].select(recorder.calls[source])
        # The masks are upsampled first; at their own size, predict gives the class map.
        given = [value[-1] for value in recorder.calls[source][0]]
        small = [dict(img_shape=logits.shape[2:], pad_shape=logits.shape[2:]) for _ in samples]
        model.decode_head.forward = lambda *_: [[value] for value in given]
        theirs = model.decode_head.predict(None, small, model.test_cfg)
    assert theirs.shape == logits.shape == (2, CLASSES, *logits.shape[2:])
    torch.testing.assert_close(logits.exp(), theirs)
    assert torch.equal(logits.argmax(1), theirs.argmax(1))
    torch.testing.assert_close(logits.softmax(1), theirs / theirs.sum(1, keepdim=True))


def test_class_maps_are_finite_and_float32_whatever_they_are_made_of():
    scores = torch.full((1, 3, 5), -90.).requires_grad_()
    masks = torch.full((1, 3, 2, 2), -200.).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = class_map(scores, masks)
    assert value.dtype == torch.float32 and value.isfinite().all()
    value.sum().backward()
    assert masks.grad.isfinite().all() and scores.grad.isfinite().all()
    assert class_map(scores.half(), masks.half()).dtype == torch.float32
    double = torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(class_map, (double, torch.randn(
        1, 3, 2, 2, dtype=torch.float64, requires_grad=True)))


@pytest.mark.parametrize('recipe', ['kd', 'cwd'])
@pytest.mark.parametrize('model', [mask2former, maskformer])
def test_mask_classifiers_teach_and_learn_with_recipes_for_logits(model, recipe, tmp_path):
    for student, teacher in ((tiny_segmentor(), model()), (model(), tiny_segmentor())):
        distiller = build(tiny_distiller(recipe, student, teacher))
        losses = step(distiller)
        assert losses['loss_logits'] > 0
        head = distiller.student.decode_head
        assert any(p.grad is not None and p.grad.any() for p in head.parameters())


def test_pruning_and_pickling_keep_the_derived_tensor(tmp_path):
    config, checkpoint = save_teacher(tmp_path, mask2former())
    given = []
    for prune in (True, False):
        teacher = build_teacher('teacher', dict(config=config, checkpoint=checkpoint,
                                                prune=prune))
        run = dry_run(teacher.model, False, ['logits'])
        teacher.counts, teacher.clone = run.counts, run.clone
        torch.manual_seed(0)
        batch = teacher.library.make_batch(teacher.model, (64, 64))
        tap = run.taps['logits']
        given.append(tap.select(teacher.read(*batch)[tap.source]))
    assert torch.equal(*given)


def test_cwd_masks_for_two_mask_classifiers():
    wide = mask2former()
    wide.decode_head.num_queries = 7
    for student, teacher in ((mask2former(), wide), (maskformer(), mask2former())):
        losses = step(build(tiny_distiller('cwd_masks', student, teacher)))
        assert losses['loss_logits'] > 0 and losses['loss_feature'] > 0


def test_names_of_queries():
    for model in (mask2former(), maskformer()):
        for training in (True, False):
            run = dry_run(build(model), training, ['class_queries', 'mask_embeddings',
                                                   'mask_features'])
            shapes = {name: tuple(value.shape) for name, value in run.examples.items()}
            assert shapes['class_queries'] == (2, CLASSES + 1, 5, 1)
            assert shapes['mask_embeddings'] == (2, 16, 5, 1)
            assert shapes['mask_features'][:2] == (2, 16)


# ---- absent names ---------------------------------------------------------------------
def test_a_name_that_a_model_lacks_is_no_typo_of_a_path():
    model = build(family('Segmenter')[0])
    for training in (True, False):
        message = dry_run(model, training, ['head']).errors['head']
        for part in ("SegmenterMaskTransformerHead on VisionTransformer has no 'head'",
                     'the last feature before the classifier', 'it has logits, backbone',
                     'Models that have it: ', 'SegFormer'):
            assert part in message
        assert 'did you mean' not in message and 'has no module' not in message


def test_a_slip_in_a_name_names_the_nearest():
    run = dry_run(build(tiny_segmentor()), True, ['logit', 'backbon'])
    assert "did you mean 'logits'" in run.errors['logit']
    assert "did you mean 'backbone'" in run.errors['backbon']
