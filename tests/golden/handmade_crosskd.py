"""Reference cases of CrossKD: tensors run through mmdet's heads layer by layer, mmdet's losses."""
import torch.nn.functional as F
from mmdet.registry import MODELS

from tests.dense_heads import HEADS, build_head
from tests.golden.handmade_heads import EPS, KL, Scene, trained_labels

FOCAL = dict(type='KDQualityFocalLoss', beta=1, loss_weight=1.)
GIOU = dict(type='GIoULoss', loss_weight=1.)
#: family -> head, its predictors, kd_cfg
FAMILIES = dict(
    gfl=('GFLHead', ('gfl_cls', 'gfl_reg'), dict(
        loss_cls_kd=FOCAL, reused_teacher_head_idx=2, loss_reg_kd=dict(
            type=KL, class_reduction='sum', T=1, loss_weight=4.))),
    retinanet=('RetinaHead', ('retina_cls', 'retina_reg'), dict(
        loss_cls_kd=FOCAL, loss_reg_kd=GIOU, reused_teacher_head_idx=1)),
    fcos=('FCOSHead', ('conv_cls', 'conv_reg'), dict(
        loss_cls_kd=dict(FOCAL, loss_weight=0.4), reused_teacher_head_idx=2,
        loss_reg_kd=dict(type='IoULoss', loss_weight=0.75))),
    atss=('ATSSHead', ('atss_cls', 'atss_reg'), dict(
        loss_cls_kd=FOCAL, loss_reg_kd=GIOU, reused_teacher_head_idx=3,
        loss_center_kd=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.))))


def run_head(head, predictors, feature, level, index=0, keep=None, given=None):
    """Predictions of one level, rows (N*H*W*A, ...), boxes raw; what is kept of both towers.

    Args:
        keep: number of the convolution whose normed output is kept.
        given: (cls, reg) to go on with after convolution ``index``.
    """
    features, kept = list(given or (feature, feature)), [feature, feature]
    for branch, convs in enumerate((head.cls_convs, head.reg_convs)):
        if index:
            features[branch] = F.relu(features[branch])
        for i, conv in enumerate(convs[index:], index + 1):
            features[branch] = F.relu(conv.norm(conv.conv(features[branch])) if conv.with_norm
                                      else conv.conv(features[branch]))
            if i == keep:  # the ReLU works in place on what was kept
                kept[branch] = features[branch]
    cls = getattr(head, predictors[0])(features[0])
    reg = getattr(head, predictors[1])(features[1])
    if hasattr(head, 'scales'):
        reg = head.scales[level](reg)
    centre = head.atss_centerness(features[1]) if hasattr(head, 'atss_centerness') else None
    bins = reg.shape[1] // 4 if hasattr(head, 'integral') else 1
    return [None if x is None else x.permute(0, 2, 3, 1).reshape(-1, dim) for x, dim in
            ((cls, 5), (reg, 4 * bins), (centre, 1))], kept


def align(student, teacher):
    """Channel by channel: standardised over images and positions, then the teacher's scale."""
    n, c, h, w = student.shape
    s, t = (x.permute(1, 0, 2, 3).reshape(c, -1) for x in (student, teacher))
    s = (s - s.mean(1, keepdim=True)) / (s.std(1, keepdim=True) + 1e-6)
    s = s * t.std(1, keepdim=True) + t.mean(1, keepdim=True)
    return s.reshape(c, n, h, w).permute(1, 0, 2, 3)


def crosskd_arrays(family, kind, **options):
    """Arguments and arrays of a case of ``family``, gfl, retinanet, fcos or atss."""
    name, predictors, kd = FAMILIES[family]
    student, teacher = (build_head(name, seed=seed, **options) for seed in (1, 2))
    teacher.eval().requires_grad_(False)
    scene = Scene(kind, student, dict(student=8, teacher=8))
    sizes = [x.shape[-2:] for x in scene.levels('student')]
    labels, weights, priors, divisor = trained_labels(scene, sizes)
    cfg = {key: value for key, value in kd['loss_reg_kd'].items() if key != 'class_reduction'}
    loss_reg = MODELS.build(dict(cfg, _scope_='mmdet'))
    index, images = kd['reused_teacher_head_idx'], len(scene.boxes)
    losses, box_weights = {}, []
    for i, (label, weight) in enumerate(zip(labels, weights, strict=True)):
        own, held = run_head(teacher, predictors, scene.maps[f'teacher_{i}'], i, keep=index)
        _, kept = run_head(student, predictors, scene.maps[f'student_{i}'], i, keep=index)
        given = [align(a, b) for a, b in zip(kept, held, strict=True)]
        crossed, _ = run_head(teacher, predictors, None, i, index, given=given)
        (cls, reg, centre), (t_cls, t_reg, t_centre) = crossed, own
        target = t_cls.sigmoid()
        bce = F.binary_cross_entropy_with_logits(cls, target, reduction='none')
        focal = (bce * (cls.sigmoid() - target).abs()).sum(1) * weight
        losses[f'loss_cls_kd_{i}'] = kd['loss_cls_kd']['loss_weight'] * focal.sum() / divisor
        w = target.max(1)[0] * (weight > 0)
        box_weights.append(w)
        prior = priors[i].repeat(images, 1)
        if family == 'gfl':
            # mmdet's takes the mean over the 8 bins, CrossKD's the sum
            value = 8 * loss_reg(reg.reshape(-1, 8), t_reg.reshape(-1, 8),
                                 w.repeat_interleave(4), avg_factor=4.)
        else:
            if family == 'fcos':
                reg, t_reg = ((x.clamp(min=0) * 8 * 2 ** i if student.norm_on_bbox else x.exp())
                              for x in (reg, t_reg))
            boxes = [teacher.bbox_coder.decode(prior, x) for x in (reg, t_reg)]
            value = loss_reg(*boxes, w, avg_factor=divisor - EPS)
        losses[f'loss_reg_kd_{i}'] = value
        if family == 'atss':
            positive = label < 5
            losses[f'losses_center_kd_{i}'] = F.binary_cross_entropy_with_logits(
                centre[positive], t_centre[positive].sigmoid(), reduction='sum') / divisor
    if family == 'gfl':
        total = sum(w.sum() for w in box_weights)
        losses = {key: value / total if 'reg' in key else value for key, value in losses.items()}
    if family == 'fcos':  # summed over levels
        losses = {f'{part}_0': sum(losses[f'{part}_{i}'] for i in range(3))
                  for part in ('loss_cls_kd', 'loss_reg_kd')}
    arrays = scene.arrays(losses, sum(losses.values()), ('student',))
    for side, head in (('student', student), ('teacher', teacher)):
        arrays |= {f'w.{side}.bbox_head.{key}': value.numpy()
                   for key, value in head.state_dict().items()}
    head = dict(HEADS[name], type=name, num_classes=5, **options)
    train_cfg = head.pop('train_cfg', None)
    return dict(kd_cfg=kd, head=head, strides=[8, 16, 32], train_cfg=train_cfg), arrays
