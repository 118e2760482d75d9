"""Train a detector on the real frame alone, and draw the boxes that it then finds.

    python -m tests.real_frame.overfit --out work_dirs/frame [--config CONFIG] [--iterations 400]

Geometry, targets, head and decoding agree if the boxes come back to where they were. Any config of
mmdet3d whose training pipeline draws nothing at random will do.
"""
import argparse
import os
import time

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmkd.utils.configs import read_config
from mmkd.visualization import draw_sample

from .frame import CAMERAS, MISSING, frame_dataset, use_frame

SMALL = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'bevdet_r18_small.py')


def build(config):
    """Model and the frame's item of a config, cfg."""
    cfg = read_config(config)
    init_default_scope(cfg.default_scope)
    item = DATASETS.build(use_frame(cfg.train_dataloader.dataset))[0]
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model, item


def train(model, item, iterations, learning_rate=2e-3, report=print):
    """Train on one item; returns the total loss of each iteration."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, iterations,
                                                   pct_start=.2)
    model.train()
    history, start = [], time.process_time()
    for i in range(iterations):
        losses = model(**model.data_preprocessor(pseudo_collate([item]), True), mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.)
        optimizer.step()
        schedule.step()
        history.append(float(loss.detach()))
        if report and (i % 20 == 0 or i == iterations - 1):
            values = ' '.join(f'{key} {value.item():.3f}' for key, value in losses.items())
            report(f'{i} {values} ({time.process_time() - start:.0f} s)', flush=True)
    return history


@torch.no_grad()
def predict(model, item):
    """The prediction (boxes, scores, labels) of the item."""
    model.eval()
    return model.test_step(pseudo_collate([item]))[0].pred_instances_3d


def found(predicted, truth, distance=.5, score=.3):
    """For each true box the distance to the nearest box of its class with that score, or inf."""
    keep = predicted.scores_3d > score
    centers, labels = predicted.bboxes_3d.gravity_center[keep], predicted.labels_3d[keep]
    nearest = []
    for center, label in zip(truth.bboxes_3d.gravity_center, truth.labels_3d, strict=True):
        gaps = (centers[labels == label] - center).norm(dim=1)
        nearest.append(float(gaps.min()) if len(gaps) else float('inf'))
    return np.array(nearest), int(keep.sum())


def pictures():
    """The frame as it is drawn: whole pictures, half as large, with the sweep and the boxes."""
    return frame_dataset([
        dict(type='mmkd.LoadCameraImages', cameras=CAMERAS),
        dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
        dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
        dict(type='mmkd.MultiViewImageAug', size=(450, 800), test_mode=True),
        dict(type='mmkd.PackBEVInputs', keys=['img', 'points', 'gt_bboxes_3d', 'gt_labels_3d'])])[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default=SMALL)
    parser.add_argument('--out', required=True)
    parser.add_argument('--iterations', type=int, default=400)
    parser.add_argument('--learning-rate', type=float, default=2e-3)
    parser.add_argument('--weights', help='of an earlier run: only predict and draw')
    args = parser.parse_args()
    if MISSING:
        raise SystemExit(MISSING)
    os.makedirs(args.out, exist_ok=True)
    torch.manual_seed(0)
    model, item = build(args.config)
    if args.weights:
        model.load_state_dict(torch.load(args.weights, weights_only=True))
        history = [float('nan')]
    else:
        history = train(model, item, args.iterations, args.learning_rate)
        torch.save(model.state_dict(), os.path.join(args.out, 'weights.pth'))
    predicted, truth = predict(model, item), item['data_samples'].gt_instances_3d
    gaps, kept = found(predicted, truth)
    print(f'loss {history[0]:.3f} -> {history[-1]:.3f}; {int((gaps < .5).sum())} of {len(gaps)} '
          f'boxes found within 0.5 m at score > 0.3, {kept} predicted')
    for box, label, gap in zip(truth.bboxes_3d.tensor.tolist(), truth.labels_3d.tolist(), gaps,
                               strict=True):
        print(f'class {label} at ({box[0]:.1f}, {box[1]:.1f}): {gap:.2f} m')
    print(draw_sample(os.path.join(args.out, 'overfit.png'), pictures(),
                      [-51.2, -51.2, -5., 51.2, 51.2, 3.], predicted))


if __name__ == '__main__':
    main()
