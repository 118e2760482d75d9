"""Plain dense formulations of the benchmarked losses, from their formulas, in eager PyTorch.

This is what the published code bases compute, operation by operation, without streaming
or hand-written gradients: the baseline of ``benchmarks/losses.py``.
"""
import torch
import torch.nn.functional as F
from torch import nn


def kd(student, teacher, tau=1.):
    """Pixel-wise KD: mean KL over pixels, times tau ** 2. Inputs (N, C, H, W)."""
    classes = student.shape[1]
    s, t = (x.permute(0, 2, 3, 1).contiguous().view(-1, classes) for x in (student, teacher))
    return tau ** 2 * F.kl_div(F.log_softmax(s / tau, 1), F.softmax(t / tau, 1),
                               reduction='batchmean')


def cwd(student, teacher, tau=4.):
    """CWD: KL over positions, summed, / (N * C), times tau ** 2. Inputs (N, C, H, W)."""
    n, c = student.shape[:2]
    s, t = ((x / tau).reshape(n, c, -1).softmax(-1) for x in (student, teacher))
    return tau ** 2 * F.kl_div(s.log(), t, reduction='sum') / (n * c)


def cirkd_minibatch(student, teacher, tau=0.1):
    """CIRKD mini-batch: mean over ordered pairs of images of the row-softmax KL."""
    s, t = (F.normalize(x, dim=1).flatten(2) for x in (student, teacher))
    total = 0.
    for i in range(len(s)):
        for j in range(len(s)):
            log_p = F.log_softmax(s[i].t() @ s[j] / tau, 1)
            q = F.softmax(t[i].t() @ t[j] / tau, 1)
            total = total + F.kl_div(log_p, q, reduction='batchmean')
    return total / len(s) ** 2


class CIRKDMemory(nn.Module):
    """CIRKD memory bank, with the queues and sizes of a ``CIRKDMemoryLoss``."""

    def __init__(self, like, tau=0.1, update=16):
        super().__init__()
        self.tau, self.update = tau, update
        self.slots = like.pixel_slots, like.region_slots
        for name, value in like.named_buffers():
            self.register_buffer(name, value.clone())

    @torch.no_grad()
    def enqueue(self, features, labels):
        """The published rule. features (N, C, P), labels (N, P) with -1 ignored."""
        size = self.pixel_queue.shape[1]
        for feature, label in zip(features, labels, strict=True):
            for c in label.unique().tolist():
                if c < 0:
                    continue
                index = (label == c).nonzero()[:, 0]
                where = int(self.region_queue_ptr[c])
                self.region_queue[c, where] = F.normalize(feature[:, index].mean(1), dim=0)
                self.region_queue_ptr[c] = (where + 1) % self.region_queue.shape[1]
                new = feature[:, torch.randperm(len(index))[:self.update].to(index.device)].t()
                new, where = F.normalize(new, dim=1), int(self.pixel_queue_ptr[c])
                if where + len(new) >= size:
                    where = size - len(new)
                self.pixel_queue[c, where:where + len(new)] = new
                self.pixel_queue_ptr[c] = (where + len(new)) % size

    def forward(self, student, teacher, labels):
        """Return dict(pixel=..., region=...)."""
        s, t = (F.normalize(x, dim=1) for x in (student, teacher))
        labels = F.interpolate(labels[:, None].float(), size=s.shape[2:], mode='nearest')
        labels = labels.flatten(1).long()
        labels[labels == 255] = -1
        self.enqueue(t.flatten(2), labels)
        valid = labels.flatten() >= 0
        s, t = (x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1])[valid] for x in (s, t))
        losses = {}
        for name, queue, count in (('pixel', self.pixel_queue, self.slots[0]),
                                   ('region', self.region_queue, self.slots[1])):
            slots = torch.randperm(queue.shape[1])[:count].to(s.device)
            keys = torch.cat([bank[slots] for bank in queue])
            losses[name] = F.kl_div(F.log_softmax(s @ keys.t() / self.tau, 1),
                                    F.softmax(t @ keys.t() / self.tau, 1),
                                    reduction='batchmean')
        return losses
