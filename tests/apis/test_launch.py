"""The end of a training on several processes."""
import subprocess
import sys

import pytest

from tests.cli import ROOT, environment, free_port

# Exchanges that are still on their way when Python begins to shut down, by a distributed
# model (its group's threads outlive the group) and with an interpreter that is slow to
# hand over: without end_processes nine of ten such processes abort.
SCRIPT = '''
import sys
import torch
from torch import distributed
from mmkd.apis import end_processes

sys.setswitchinterval(1000)
distributed.init_process_group('gloo')
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
model(torch.randn(2, 4)).sum().backward()
for _ in range(50):
    distributed.all_reduce(torch.ones(100000), async_op=True)
end_processes()
assert not distributed.is_initialized()
end_processes()
'''


@pytest.mark.slow
@pytest.mark.parametrize('_', range(3))
def test_a_finished_process_exits_with_0(_, tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
         f'--master_port={free_port()}', tmp_path / 'script.py'],
        cwd=tmp_path, env=environment(PYTHONPATH=ROOT), text=True, capture_output=True,
        timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
