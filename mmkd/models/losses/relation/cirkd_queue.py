"""Queue rules and rank communication of the CIRKD memory bank.

Outside a process group of more than one rank the communication helpers return what they
were given.
"""
import torch
import torch.distributed as dist
from torch import Tensor


def push_region(queue: Tensor, position: int, vector: Tensor) -> int:
    """Write one vector (C) into a class queue (R, C), in place; returns the next position."""
    queue[position] = vector.to(queue.dtype)
    return (position + 1) % len(queue)


def push_pixels(queue: Tensor, position: int, vectors: Tensor) -> int:
    """Write vectors (K, C) into a class queue (P, C), in place; returns the next position.

    The published rule, which is not modular: where the vectors would reach the end, the
    last K slots are overwritten and the next position is 0.
    """
    count = len(vectors)
    if position + count >= len(queue):
        queue[-count:] = vectors.to(queue.dtype)
        return 0
    queue[position:position + count] = vectors.to(queue.dtype)
    return position + count


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(x: Tensor) -> tuple[Tensor, int]:
    """All ranks' rows in rank order, and where this rank's rows begin.

    Args:
        x: (n, ...), where n may differ between ranks.
    """
    world = _world_size()
    if world == 1:
        return x, 0
    lengths = [x.new_zeros(1, dtype=torch.long) for _ in range(world)]
    dist.all_gather(lengths, x.new_tensor([len(x)], dtype=torch.long))
    lengths = [int(n) for n in lengths]
    if max(lengths) == 0:
        return x, 0
    padded = x.new_zeros((max(lengths), *x.shape[1:]))
    padded[:len(x)] = x
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    rows = torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])
    return rows, sum(lengths[:dist.get_rank()])


def broadcast(*tensors: Tensor) -> None:
    """Overwrite tensors, of equal shape on all ranks, with rank 0's."""
    if _world_size() > 1:
        for x in tensors:
            if x.numel():
                dist.broadcast(x, src=0)
