"""BEVDet on two processes, its backbone recomputed in the backward, as the shipped configs do."""
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS

from tests.engine.test_distributed import on_two_processes
from tests.models.bev.rigs import rig, tiny_item, tiny_model
from tests.models.bev.test_bevdet import two_frames

CASES = dict(one=(1, {}), two=(2, {}), through=(2, dict(grad_previous=True)))


def train_each(rank):
    """The weights after two steps on an own sample, one of them without boxes."""
    states = {}
    for name, (frames, changes) in CASES.items():
        torch.manual_seed(0)
        cfg = tiny_model(frames, depth_net=dict(type='mmkd.DepthNet', mid_channels=8, dcn=False),
                         depth_supervision=dict(weight=3.)) | changes
        cfg['img_backbone']['with_cp'] = True
        model = MODELS.build(cfg)
        ddp = MMDistributedDataParallel(model, broadcast_buffers=False,
                                        find_unused_parameters=False)
        wrapper = build_optim_wrapper(ddp, dict(optimizer=dict(type='SGD', lr=1e-4)))
        ddp.train()
        for step in range(2):
            meta = rig() if frames == 1 else two_frames()
            item = tiny_item(boxes=2 * (step ^ rank), meta=meta, depth=True, seed=2 * step + rank)
            log = ddp.train_step(pseudo_collate([item]), wrapper)
            assert all(torch.isfinite(value) for value in log.values())
        states[name] = {key: value.detach() for key, value in model.named_parameters()}
    return states


@pytest.mark.slow
def test_the_ranks_stay_in_step(tmp_path):
    first, second = on_two_processes(train_each, tmp_path)
    for name in CASES:
        assert first[name].keys() == second[name].keys()
        assert not [key for key, value in first[name].items()
                    if not torch.equal(value, second[name][key])]
