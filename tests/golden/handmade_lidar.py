"""Reference cases of methods between LiDAR detectors, by plain formulas of torch in float64,
written apart from mmkd's own. Gradients are those of the formulas."""
import torch


def draws(seed):
    """A function that draws normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def finish(arrays, total, gradients):
    """``arrays`` and the gradients of ``total``, {recorded name: tensor}, as numpy."""
    found = torch.autograd.grad(total.sum(), list(gradients.values()), allow_unused=True)
    arrays |= {name: torch.zeros_like(x) if g is None else g
               for (name, x), g in zip(gradients.items(), found, strict=True)}
    return {name: x.detach().numpy() for name, x in arrays.items()}


def sparsekd(size=(4, 6), boxes=3, reg=True, code_weights=None, batch=2):
    """(args, arrays); maps of the teacher are 4 x 6, those of the student of ``size``. All boxes
    are in sample 0."""
    draw = draws(0)
    student = draw(batch, 3, *size).sigmoid().requires_grad_()
    logits, drawn = draw(batch, 3, 4, 6), draw(batch, 3, 4, 6).sigmoid() * bool(boxes)
    masks = torch.zeros(batch, 5, dtype=torch.int64)
    masks[0, :boxes] = 1
    inds = torch.arange(5 * batch).view(batch, 5) * 7 % 24
    arrays = dict(student_hm=student, teacher_hm_logits=logits, gt_heatmap=drawn, inds=inds,
                  masks=masks)
    teacher, s = logits.sigmoid().clamp(1e-4, 1 - 1e-4), student
    if size != (4, 6):
        s = torch.nn.functional.interpolate(student, (4, 6), mode='bilinear')
    pivotal = teacher.amax(1) * drawn.amax(1)
    arrays['loss_hm'] = 7 * ((s - teacher) ** 2 * pivotal[:, None]).sum() / (pivotal.sum() + 1e-6)
    leaves, total, channel = {'grad_student_hm': student}, torch.zeros(()).double(), 0
    for name, count in (('center', 2), ('center_z', 1)) if reg else ():
        ours = arrays[f'student_reg.{name}'] = draw(batch, count, *size).requires_grad_()
        theirs = arrays[f'teacher_reg.{name}'] = draw(batch, count, 4, 6)
        leaves[f'grad_student_reg.{name}'] = ours
        for c in range(count):
            weight = code_weights[channel] if code_weights else 1.
            channel += 1
            for i in inds[0, :boxes].tolist() if size == (4, 6) else ():
                at = 0, c, i // 6, i % 6
                total = total + weight * (ours[at] - theirs[at]).abs() / boxes
    arrays |= dict(loss_reg=.2 * total, loss_total=arrays['loss_hm'] + .2 * total)
    args = dict(hm_weight=7., reg_weight=.2, code_weights=code_weights or [1] * 8)
    return args, finish(arrays, arrays['loss_total'], leaves)


def attention(x):
    """(M, R): each column is mixed with the others by their products, one after the other."""
    mixed = []
    for c in range(x.shape[1]):
        share = torch.stack([x[:, r] @ x[:, c] / len(x) ** .5 for r in range(x.shape[1])]).exp()
        mixed.append(sum(s * x[:, r] for r, s in enumerate(share)) / share.sum())
    return torch.stack(mixed, 1)


def itkd(objects=(3, 1), split=(3, 2, 1, 3, 2), batch=2, code=5, channels=(4, 6), size=(3, 4)):
    """(args, arrays); sample b has ``objects[b]``, of five places."""
    draw, total = draws(1), sum(split)
    narrow, wide = channels
    student, boxes = draw(batch, narrow, *size), 2 * draw(batch, total, *size)
    arrays = dict(teacher_feat=draw(batch, wide, *size), student_feat=student.requires_grad_(),
                  teacher_box=2 * draw(batch, total, *size), student_box=boxes.requires_grad_(),
                  ind=torch.arange(5 * batch).view(batch, 5) * 5 % (size[0] * size[1]),
                  mask=torch.tensor([[k < count for k in range(5)] for count in objects]).byte())
    for name, (out, of) in dict(ds_teacher=(narrow, wide), us_student=(wide, narrow)).items():
        arrays |= {f'w_tse.{name}.weight': draw(out, of, 1, 1), f'w_tse.{name}.bias': draw(out)}
    for name, widths in dict(downsample=(wide, 128, 64, code),
                             upsample=(code, 64, 128, narrow)).items():
        for i in range(3):
            arrays |= {f'w_tse.{name}.{2 * i}.weight': draw(widths[i + 1], widths[i], 1, 1) / 8,
                       f'w_tse.{name}.{2 * i}.bias': draw(widths[i + 1])}
    arrays |= {'w_att.attn_weight.weight': draw(total, 2 * total, 1),
               'w_att.attn_weight.bias': draw(total)}

    def layer(x, name):
        weight = arrays[f'w_tse.{name}.weight'][:, :, 0, 0]
        bias = arrays[f'w_tse.{name}.bias'][:, None, None]
        return torch.einsum('oc,bcyx->boyx', weight, x) + bias

    def layers(x, name):
        for i in (0, 2, 4):
            x = layer(x if i == 0 else x.clamp(min=0), f'{name}.{i}')
        return x

    def cells():
        return ((b, k, i // size[1], i % size[1]) for b in range(batch)
                for k, i in enumerate(arrays['ind'][b].tolist()) if arrays['mask'][b, k])

    teacher = arrays['teacher_feat']
    ours, theirs = layers(layer(student, 'us_student'), 'downsample'), layers(teacher, 'downsample')
    loss = (ours - theirs).abs().mean()
    for one, other in ((layer(layers(ours, 'upsample'), 'us_student'), teacher),
                       (layers(theirs, 'upsample'), student)):
        gap = one - other
        loss = loss + gap.abs().mean() + sum(
            (gap[b, :, i, j] ** 2).sum() for b, _, i, j in cells()) / (batch * 5 * gap.shape[1])
    weight, mixed = arrays['w_att.attn_weight.weight'][:, :, 0], []
    for x in (boxes, arrays['teacher_box']):
        rows = [[torch.zeros(total).double()] * 5 for _ in range(batch)]
        for b, k, i, j in cells():
            rows[b][k] = x[b, :, i, j]
        found = []
        for sample in map(torch.stack, rows):
            parts = [attention(sample), *map(attention, sample.split(list(split), 1))]
            found.append(torch.cat(parts, 1) @ weight.T + arrays['w_att.attn_weight.bias'])
        mixed.append(torch.stack(found))
    arrays |= dict(loss_tse=loss, loss_attention=(mixed[0] - mixed[1]).abs().sum() / (
        sum(objects) + 1e-4))
    arrays['loss_total'] = arrays['loss_tse'] + arrays['loss_attention']
    args = dict(teacher_in=wide, student_in=narrow, code=code, lam=.5, head_split=list(split))
    return args, finish(arrays, arrays['loss_total'], {
        'grad_student_feat': student, 'grad_student_box': boxes})


def pointdistiller(maps=False, reweight=True, ties=True, batch=2, centers=4, near=5, voxels=12):
    """(args, arrays), of rows of all samples together or of ``maps`` of 3 x 4 cells; with ``ties``
    voxels are equal to others, and the last of equal ones are taken."""
    draw, sizes = draws(2), dict(teacher=4, student=3)
    shape = (batch, 3, 4) if maps else (voxels,)
    rows = {side: draw(*shape[:1], c, *shape[1:]) for side, c in sizes.items()}
    if ties:
        half = rows['teacher'].shape[-1] // 2
        rows['teacher'][..., half:2 * half] = rows['teacher'][..., :half]
    counts = torch.arange(voxels) % (3 if ties else voxels) + 1
    arrays = {f'{side}_feature': x for side, x in rows.items()} | (
        {} if maps else {'num_points': counts})
    arrays['student_feature'].requires_grad_()
    query, knn, edges, scores = [], [], [], []
    for b in range(batch if maps else 1):
        t = rows['teacher'][b].flatten(1).T if maps else rows['teacher']
        score = t.amax(1).tolist() if maps else counts.tolist()
        last = range(len(t) - 1, -1, -1)  # of equal ones the last comes first
        chosen = sorted(last, key=lambda i, of=score: -of[i])[:centers]
        gaps = ((t[:, None] - t) ** 2).sum(2).tolist()
        around = [sorted(last, key=gaps[i].__getitem__)[:near] for i in chosen]
        query, knn = query + [chosen], knn + [around]
        edges += [(b, i, j) for i, some in zip(chosen, around, strict=True) for j in some]
        scores += [score[i] for i in chosen]
    found = {}
    for side, c in sizes.items():
        x = rows[side].flatten(2).mT if maps else rows[side][None]
        conv, scale, shift = draw(5, 2 * c, 1, 1).requires_grad_(), draw(5), draw(5)
        arrays |= {f'{side}_adapt.conv_weight': conv, f'{side}_adapt.bn_weight': scale,
                   f'{side}_adapt.bn_bias': shift}
        y = torch.stack([torch.cat([x[b, j], x[b, i]]) for b, i, j in edges]) @ conv.flatten(1).T
        y = (y - y.mean(0)) / (((y - y.mean(0)) ** 2).mean(0) + 1e-5).sqrt()
        found[side] = (y * scale + shift).clamp(min=0)
    gap = found['teacher'] - found['student']
    if not reweight:
        loss = 5e-4 * (gap ** 2).sum().sqrt()
    else:
        share = torch.full((len(scores),), float(batch)).double()
        if not maps:
            share = (torch.tensor(scores).double() / .01).softmax(0) * len(scores)
        loss = 2 * (gap ** 2 * share.repeat_interleave(near)[:, None]).mean()
    arrays |= dict(loss=loss[None], query=torch.tensor(query if maps else query[0]),
                   knn=torch.tensor(knn))
    args = dict(num_voxels=centers, kneighbours=near, reweight=reweight,
                softmax_temperature=1e-4 if maps else .01, factor_reweight=2,
                factor_plain='torch.dist * 5e-4')
    return args, finish(arrays, loss, {
        'grad_student_feature': arrays['student_feature'],
        'grad_teacher_adapt_conv': arrays['teacher_adapt.conv_weight'],
        'grad_student_adapt_conv': arrays['student_adapt.conv_weight']})


def lidardistill(mode='roi', boxes=(((-3.1, 1., 2., 3.), (4., -5.5, 3., 1.2)),
                                    ((0.3, 0.2, 1., 5.), (9., 9., 2., 2.))),
                 padding=1, equal=False):
    """(args, arrays); boxes x, y, dx, dy of each sample, on cells of 2 m from (-6, -8) on."""
    draw, batch = draws(8), len(boxes)
    student, teacher = draw(batch, 3, 8, 6), draw(batch, 3, 8, 6)
    if equal:  # where the length has no slope
        student[:, :, 2] = teacher[:, :, 2]
    student.requires_grad_()
    slots = max(map(len, boxes)) + padding
    rois = torch.zeros(batch, slots, 8).double()
    for b, some in enumerate(boxes):
        for k, (x, y, dx, dy) in enumerate(some):
            rois[b, k] = torch.tensor([x, y, .5, dx, dy, 1.5, 1.1, 1 + k])
    total, weights, count = torch.zeros(()).double() + 0 * student.sum(), 0., 0
    for b in range(batch):
        for row in rois[b].tolist():
            x, y, _, dx, dy, _, _, label = row
            if mode == 'gt' and not label:
                continue
            count += label > 0
            cells = [(i, j) for i in range(8) for j in range(6)
                     if (y - dy / 2 + 8) / 2 <= i <= (y + dy / 2 + 8) / 2
                     and (x - dx / 2 + 6) / 2 <= j <= (x + dx / 2 + 6) / 2]
            weights += bool(cells)
            for i, j in cells:
                gap = (student[b, :, i, j] - teacher[b, :, i, j])
                if gap.any():
                    total = total + (gap ** 2).sum().sqrt() / len(cells) / batch / slots
    if mode == 'gt':
        total = total * weights / count if count else total * float('nan')
    if mode == 'all':
        total = ((student - teacher) ** 2).sum(1).sqrt().mean()
    arrays = dict(student_feat=student, teacher_feat=teacher, rois=rois, loss=total)
    return (dict(mode=mode, cell=2., range=[-6, -8, 6, 8]),
            finish(arrays, total, dict(grad_student_feat=student)))


def passing_kl(points=5, classes=4):
    """(args, arrays) of 2DPASS; the official mean over no point is 0 / 0."""
    draw = draws(9)
    student, fused = draw(points, classes).requires_grad_(), draw(points, classes)
    total = 0 * student.sum()
    for row, target in zip(student, fused, strict=True):
        s, t = row.exp() / row.exp().sum(), target.exp() / target.exp().sum()
        total = total + (t * (t.log() - s.log())).sum() / (points * classes)
    total = total if points else total * float('nan')
    arrays = dict(point_pred=student, fuse_pred=fused, loss_raw=total, loss=.05 / 4 * total)
    args = dict(lambda_xm=.05, num_scales=4, reduction='mean (over elements)')
    return args, finish(arrays, arrays['loss'], dict(grad_point_pred=student))
