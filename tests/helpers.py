"""Tiny segmentors, distillers, batches and data sets that the tests share."""
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

import mmkd.models  # noqa: F401  (registers everything)
from mmkd.apis import recipes
from mmkd.utils.configs import read_config

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]

#: what each head needs besides the common arguments, for a backbone of width w
_HEADS = dict(
    FCNHead=lambda w: dict(num_convs=1, concat_input=False),
    PSPHead=lambda w: dict(pool_scales=(1, 2)),
    ASPPHead=lambda w: dict(dilations=(1, 2)),
    DepthwiseSeparableASPPHead=lambda w: dict(dilations=(1, 2), c1_in_channels=w, c1_channels=4),
    DNLHead=lambda w: dict(mode='embedded_gaussian'),
)


def preprocessor(mean=MEAN, std=STD, **kwargs):
    return dict(type='mmseg.SegDataPreProcessor', mean=list(mean), std=list(std), bgr_to_rgb=True,
                pad_val=0, seg_pad_val=255, size_divisor=8, **kwargs)


def tiny_segmentor(head='FCNHead', width=8, num_classes=4, aux=False, neck=None, cascade=False,
                   dropout=0.1, norm='BN', mean=MEAN, std=STD, **head_args):
    """A model dict: a narrow ResNet-18 of output stride 8 with a head of ``width`` channels.

    Args:
        head (str): Type of the decode head.
        width (int): Channels of the backbone's first stage; the last has 8 * width.
        aux (bool | int): Auxiliary FCN heads on stage 3 (or on as many stages).
        neck (str, optional): 'FPN'; the head then reads the neck's finest map, or all
            four of them for an ``FPNHead``.
        cascade (bool): A CascadeEncoderDecoder: FCN, then OCR.
        head_args: Go to the decode head.
    """
    norm_cfg = dict(type=norm, requires_grad=True)
    if norm == 'GN':
        norm_cfg['num_groups'] = 2
    common = dict(num_classes=num_classes, channels=width, norm_cfg=norm_cfg, align_corners=False,
                  loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False))
    stages = [width * 2 ** i for i in range(4)]
    model = dict(
        type='mmseg.EncoderDecoder', _scope_='mmseg',
        data_preprocessor=preprocessor(mean, std), pretrained=None,
        backbone=dict(type='ResNetV1c', depth=18, base_channels=width, stem_channels=width,
                      num_stages=4, out_indices=(0, 1, 2, 3), dilations=(1, 1, 2, 4),
                      strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False, style='pytorch',
                      contract_dilation=True),
        train_cfg=dict(), test_cfg=dict(mode='whole'))
    place = dict(in_channels=stages[3], in_index=3)
    if neck is not None:
        model['neck'] = dict(type=neck, in_channels=stages, out_channels=width, num_outs=4)
        place = dict(in_channels=width, in_index=0)
    if head == 'FPNHead':
        place = dict(in_channels=[width] * 4, in_index=[0, 1, 2, 3],
                     feature_strides=[4, 8, 8, 8])
    first = dict(type=head, dropout_ratio=dropout, **place, **common,
                 **_HEADS.get(head, lambda w: {})(width))
    model['decode_head'] = {**first, **head_args}
    if cascade:
        model.update(type='mmseg.CascadeEncoderDecoder', num_stages=2)
        model['decode_head'] = [model['decode_head'], dict(
            type='OCRHead', ocr_channels=width, dropout_ratio=dropout, **place, **common)]
    if aux:
        heads = [dict(type='FCNHead', num_convs=1, concat_input=False, dropout_ratio=dropout,
                      in_channels=stages[i] if neck is None else width, in_index=i, **common)
                 for i in (2, 1, 0)[:int(aux)]]
        model['auxiliary_head'] = heads if len(heads) > 1 else heads[0]
    return model


def terms_of(recipe):
    """The ``distillations`` of a recipe that comes with mmkd."""
    return read_config(recipes()[recipe]).distillations.to_dict()


def tiny_distiller(distillations='kd', student=None, teacher=None, **teacher_args):
    """An OfflineDistiller dict.

    Args:
        distillations (str | dict): A recipe's name or the terms.
        student, teacher (dict, optional): Model dicts; a tiny FCN and a wider PSP.
        teacher_args: Go to the teacher's dict; a random teacher is accepted if there is
            no ``checkpoint`` among them.
    """
    if isinstance(distillations, str):
        distillations = terms_of(distillations)
    teacher = teacher or tiny_segmentor('PSPHead', width=12)
    if 'checkpoint' not in teacher_args:
        teacher_args.setdefault('allow_random', True)
    return dict(type='mmkd.OfflineDistiller', student=student or tiny_segmentor(),
                teacher=dict(config=teacher, **teacher_args), distillations=distillations)


def build(cfg, seed=0):
    """The model of a dict, with weights that follow from ``seed``."""
    torch.manual_seed(seed)
    model = ROOT_MODELS.build(cfg)
    model.init_weights()
    return model


def random_bn(model, seed=0):
    """Give every norm statistics as after training, and return the model."""
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
        elif name.endswith('running_var'):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model


def make_batch(n=2, size=(32, 32), num_classes=4, seed=0):
    """A batch as a data loader gives it to ``train_step``: dict(inputs, data_samples)."""
    generator = torch.Generator().manual_seed(seed)
    size = (size, size) if isinstance(size, int) else tuple(size)
    inputs, samples = [], []
    for _ in range(n):
        label = torch.randint(0, num_classes, (size[0] // 8 + 1, size[1] // 8 + 1),
                              generator=generator)
        label = label.repeat_interleave(8, 0).repeat_interleave(8, 1)[:size[0], :size[1]].clone()
        shade = label[None] * torch.tensor([[[50]], [[30]], [[10]]])
        noise = torch.randint(0, 60, (3, *size), generator=generator)
        label[:2] = 255  # an ignored stripe
        inputs.append((shade + noise).clamp(0, 255).to(torch.uint8))
        sample = SegDataSample(metainfo=dict(
            ori_shape=size, img_shape=size, pad_shape=size, scale_factor=(1., 1.), flip=False,
            flip_direction=None, img_path=f'{seed}.png', seg_map_path=f'{seed}.png',
            reduce_zero_label=False))
        sample.gt_sem_seg = PixelData(data=label[None])
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def save_teacher(folder, cfg=None, seed=1):
    """(config path, checkpoint path) of a random network, as a zoo would give them."""
    cfg = cfg or tiny_segmentor('PSPHead', width=12)
    model = random_bn(build(cfg, seed), seed)
    config, checkpoint = folder / 'teacher.py', folder / 'teacher.pth'
    Config(dict(default_scope='mmseg', model=cfg)).dump(str(config))
    torch.save(dict(meta=dict(epoch=1), state_dict=model.state_dict()), checkpoint)
    return str(config), str(checkpoint)


@DATASETS.register_module()
class TinyScenes(Dataset):
    """Blocky pictures whose colour tells the class, made from their index."""

    def __init__(self, length=8, size=32, num_classes=4):
        self.length, self.size, self.num_classes = length, size, num_classes
        self.metainfo = dict(classes=tuple(f'class_{i}' for i in range(num_classes)),
                             palette=[[60 * i, 30, 90] for i in range(num_classes)],
                             label_map=None, reduce_zero_label=False)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(index)
        batch = make_batch(1, self.size, self.num_classes, seed=index)
        return {key: value[0] for key, value in batch.items()}


def runner_config(model, work_dir, iters=4, batch=2, length=8, num_classes=4, **others):
    """A Config that trains ``model`` on :class:`TinyScenes` for a few iterations."""
    data = dict(type='TinyScenes', length=length, num_classes=num_classes)
    loader = dict(num_workers=0, persistent_workers=False,
                  collate_fn=dict(type='pseudo_collate'))
    test = dict(loader, batch_size=1, dataset=dict(data, length=2),
                sampler=dict(type='DefaultSampler', shuffle=False))
    metric = dict(type='IoUMetric', iou_metrics=['mIoU'])
    cfg = dict(
        default_scope='mmseg', model=model, work_dir=str(work_dir),
        train_dataloader=dict(loader, batch_size=batch, dataset=data,
                              sampler=dict(type='InfiniteSampler', shuffle=True)),
        val_dataloader=test, test_dataloader=test, val_evaluator=metric, test_evaluator=metric,
        optim_wrapper=dict(type='OptimWrapper', clip_grad=None,
                           optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=[dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=iters,
                              by_epoch=False)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=iters),
        val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                           checkpoint=dict(type='CheckpointHook', by_epoch=False,
                                           interval=iters)),
        custom_hooks=[dict(type='mmkd.ExactResumeHook')],
        log_processor=dict(by_epoch=False), randomness=dict(seed=0), launcher='none')
    return Config({**cfg, **others})
