"""The adapter of DistillBEV against loops, and files that are broken."""
import json

import numpy as np
import pytest
import torch

from tests.golden.handmade_3d import write_bare
from tests.golden.replay import main, replay
from tests.models.losses.distillbev_reference import distillbev, regions, wrong_cells

METRES = (-4., -4., 4., 4.)
GRID = {'grid_size': [64, 64, 40], 'point_cloud_range': [-4., -4., -5., 4., 4., 3.]}
BOXES = [[[-1.2, 1.3, 0., 3.1, 1.7, 1., .4], [0., .4, 1., 2.2, 1.2, 2., 2.1]],
         [[2., -2.2, 0., 1.5, 3., 1., 1.]]]


def distillbev_arrays(boxes=BOXES, size=(8, 8), fp=None, channel_mask=True, kernel=1,
                      context=(0., 0.), wrong=True, **options):
    """``kernel`` 0: no convolution. With ``wrong`` false positives are no background any more
    where bg_scale is recorded. Heatmaps without a false positive to be found: fp mode None."""
    generator = torch.Generator().manual_seed(4)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    student, teacher = draw(2, 3 if kernel else 5, *size), draw(2, 5, *size)
    weight, bias = draw(5, 3, max(kernel, 1), max(kernel, 1)), draw(5)
    conv = draw(1, 1, 3, 3), draw(1)
    arrays = {'student_feat': student, 'teacher_feat': teacher, 'adapter_weight': weight,
              'adapter_bias': bias, 'spatial_conv_weight': conv[0], 'spatial_conv_bias': conv[1],
              'boxes_new': torch.tensor(sum(boxes, []), dtype=torch.float64).reshape(-1, 7),
              'box_sample': torch.tensor([b for b, some in enumerate(boxes) for _ in some],
                                         dtype=torch.int64)}
    arrays = {key: value.clone() for key, value in arrays.items()}
    wanted = student.requires_grad_(), weight.requires_grad_()
    if fp is not None:
        heat = draw(2, 2, 3, *size)
        gt = torch.rand(2, 3, *size, generator=generator, dtype=torch.float64) ** 6
        arrays |= {'gt_heatmap': gt, 'teacher_hm.task0': heat[0][:, :1],
                   'teacher_hm.task1': heat[0][:, 1:], 'student_hm.task0': heat[1][:, :1].sigmoid(),
                   'student_hm.task1': heat[1][:, 1:].sigmoid()}
        most = heat.sigmoid().amax(2)
        fp = fp['mode'] and dict(fp, weight=.04, threshold=.7, below=fp.get('below', .7),
                                 gt=gt.amax(1), teacher=most[0], student=most[1])
    adapted = torch.nn.functional.conv2d(
        student, weight, bias, padding=kernel // 2) if kernel else student
    losses = distillbev(adapted, teacher, boxes, METRES, conv, channel_mask=channel_mask,
                        context=context, fp=fp, **options)
    names = dict(fg='fg_feat', bg='bg_feat', fp='fp_bg_feat')
    arrays |= {f'loss.kd_{names.get(name, name)}_loss': torch.as_tensor(value)
               for name, value in losses.items()}
    total = sum(losses.values())
    if not kernel:
        del arrays['adapter_weight'], arrays['adapter_bias']
    gradients = torch.autograd.grad(total, wanted[:2 if kernel else 1])
    arrays |= {f'grad_{name}': value for name, value in zip(
        ('student_feat', 'adapter_weight'), gradients, strict=False)}
    drawn = [regions(some, METRES, size, *context) for some in boxes]
    arrays |= {name: torch.tensor([[one[i]] for one in drawn])
               for i, name in enumerate(('fg_mask', 'fg_scale'))}
    shares = [one[2] for one in drawn]
    if fp:
        spots = [wrong_cells(fp['mode'], one[0], *(fp[key][b].tolist() for key in (
            'gt', 'teacher', 'student')), .7, fp['below']) for b, one in enumerate(drawn)]
        assert all(spots)
        arrays['fp_mask'] = torch.zeros(2, 1, *size)
        for b, cells in enumerate(spots):
            arrays['fp_mask'][b, 0][tuple(zip(*cells, strict=True))] = 1.
        if wrong:
            shares = [1 / (1 / share - len(cells)) for share, cells in zip(
                shares, spots, strict=True)]
    arrays['bg_scale'] = torch.tensor(shares)[:, None, None, None].expand(-1, 1, *size)
    return {key: value.detach().numpy() for key, value in dict(arrays, loss_total=total).items()}


def distillbev_case(folder, dtype=np.float64, args=None, drop=(), epoch=1, **scene):
    fp = scene.get('fp')
    args = {'scale_mask': 'combine_gt', 'spatial_mask': True, 'channel_mask': True,
            'fp_as_foreground': ['none'], 'student_feat_pos': ['head'],
            **({'fp_as_foreground': [fp['mode']], 'fp_weight': .04, 'fp_scale_mode': fp['scale'],
                'output_threshold': .7, 'groundtruth_threshold': fp.get('below')} if fp else {}),
            **(args or {})}
    arrays = {key: value for key, value in distillbev_arrays(**scene).items() if key not in drop}
    path = write_bare(folder, 'distillbev_some_kind', args, arrays, dtype)
    info = json.loads(path.read_text())
    path.write_text(json.dumps(dict(info, grid=GRID, epoch=epoch)))
    return path


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('scene', [
    {}, {'boxes': [BOXES[0], []]}, {'boxes': [[], []]},
    {'fp': dict(mode='teacher', scale='average')},
    {'fp': dict(mode='teacher_selected_student', scale='dfs'), 'boxes': [[], BOXES[1]]},
    {'fp': dict(mode='student', scale='average'), 'boxes': [[], []]},
    {'fp': dict(mode='teacher+teacher_selected_student', scale='dfs', below=.6), 'wrong': False},
    {'fp': dict(mode=None, scale='dfs'), 'epoch': 1,
     'args': {'fp_as_foreground': ['teacher'], 'fp_epoch': 2}},
    {'channel_mask': False, 'args': {'channel_mask': False}},
    {'context': (2., .5), 'args': {'context_length': 2, 'context_weight': .5}},
    {'scale_mask': 'separate_gt', 'args': {'scale_mask': 'separate_gt'}},
    {'scale_mask': 'bg_only', 'args': {'scale_mask': 'bg_only'}, 'boxes': [[], BOXES[1]]},
    {'scale_mask': '', 'args': {'scale_mask': ''}},
    {'student_ratio': .7, 'args': {'spatial_attentions': ['teacher_student'],
                                   'spatial_student_ratio': .7}},
    {'kernel': 3, 'args': {'adaptation_type': '3x3conv'}},
    {'kernel': 0, 'args': {'adaptation_type': ['identity']}}],
    ids=['ordinary', 'one without', 'none', 'teacher average', 'student dfs', 'student',
         'both', 'not yet', 'no channels', 'context', 'separate', 'background', 'no scale',
         'attention of both', '3x3', 'identity'])
def test_distillbev(tmp_path, dtype, scene):
    _, error, _, problems = replay(distillbev_case(tmp_path, dtype, **scene))
    assert not problems and error < (2e-5 if dtype == np.float32 else 1e-6)


@pytest.mark.parametrize('names', [
    ('gt_heatmap.task{}', 'teacher_hm_logits.task{}', 'student_hm_prob.task{}'),
    ('heatmaps.{}', 'hm_teacher.{}', 'hm_student.{}'),
    ('gt_hm{}', 'teacher_pred{}', 'student_pred{}')])
def test_names_of_heatmaps_say_whose_they_are(tmp_path, names):
    fp = dict(mode='teacher+teacher_selected_student', scale='average')
    arrays = distillbev_arrays(fp=fp)
    gt = arrays.pop('gt_heatmap')
    for i in (0, 1):
        sides = gt[:, 2 * i:2 * i + 2], *(arrays.pop(f'{side}_hm.task{i}')
                                          for side in ('teacher', 'student'))
        arrays |= {name.format(i): x for name, x in zip(names, sides, strict=True)}
    args = {'scale_mask': 'combine_gt', 'fp_as_foreground': fp['mode'], 'fp_weight': .04,
            'output_threshold': .7}
    path = write_bare(tmp_path, 'distillbev_names', args, arrays, np.float64)
    path.write_text(json.dumps(dict(json.loads(path.read_text()), grid=GRID)))
    assert not replay(path)[3]


@pytest.mark.parametrize('args, drop, message', [
    ({'adaptation_type': 'mlp'}, (), 'mmkd has 1x1conv, 3x3conv, identity alone'),
    ({'foreground_mask': 'gauss'}, (), "mmkd has 'gt' alone"),
    ({'warmth': 1.}, (), 'does not know the official argument(s) warmth'),
    ({'fp_as_foreground': ['teacher']}, (), 'no heatmap of gt, student, teacher is recorded'),
    ({}, ('box_sample',), 'box_sample is missing'),
    ({'scale_mask': 'bg_only'}, (), 'relative error')])
def test_a_broken_case_of_distillbev_fails(tmp_path, capsys, args, drop, message):
    assert main([str(distillbev_case(tmp_path, args=args, drop=drop))]) == 1
    assert message in capsys.readouterr().err
