"""A CUDA library that does not run on the GPUs here counts as missing."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmkd.ops import build

ROOT = Path(__file__).resolve().parents[2]
FAKE = r'''
#include <cstdio>
#include <cstdlib>
static const int loaded = std::printf("loaded\n");
extern "C" const char* mmkd_probe() {
  std::FILE* asked = std::fopen(std::getenv("ASKED"), "a");
  std::fputs("asked\n", asked);
  std::fclose(asked);
  ANSWER;
}
'''
CODE = '''
import torch
torch.version.cuda, torch.cuda.device_count = '13.0', lambda: {gpus}
import mmkd.ops as ops
print(ops.has_kernel('voxel_keys'), ops.has_kernel('voxel_keys', 'cuda'))
index = ops.voxel_index(torch.zeros(2, 3), (1, 1, 1), (-1, -1, -1, 1, 1, 1))
assert index.coors.tolist() == [[0, 1, 1, 1]]
'''
pytestmark = pytest.mark.skipif(build.compiler('cpu') is None,
                                reason='no C++ compiler on this machine')


@pytest.fixture
def start(tmp_path):
    """start(answer, gpus, card) imports mmkd.ops in a new process, where a CUDA library is in
    the cache whose probe says ``answer``; gives what it printed, its warnings and how often the
    library was asked."""
    cxx, asked = shutil.which(build.compiler('cpu')), tmp_path / 'asked'
    cache, tools = tmp_path / 'ops', tmp_path / 'tools'
    cache.mkdir()
    tools.mkdir()
    shutil.copy(build.build('cpu'), cache)

    def run(answer, gpus=1, card='9.0'):
        source = tmp_path / 'fake.cpp'
        source.write_text(FAKE.replace('ANSWER', answer))
        library = cache / f"{build.name_of_sources('cuda')}_fake.so"
        subprocess.run([cxx, '-shared', '-fPIC', source, '-o', library], check=True)
        (tools / 'nvidia-smi').write_text(f'#!/bin/sh\necho "{card}, 580.65"\n')
        (tools / 'nvidia-smi').chmod(0o755)
        asked.write_text('')
        done = subprocess.run(
            [sys.executable, '-c', CODE.format(gpus=gpus)], text=True, capture_output=True,
            cwd=ROOT, check=False, env=os.environ | {
                'MMKD_OPS': '', 'MMKD_CACHE': str(tmp_path), 'PATH': str(tools), 'CXX': cxx,
                'CUDA_HOME': str(tmp_path), 'ASKED': str(asked), 'PYTHONFAULTHANDLER': ''})
        assert done.returncode == 0, done.stderr
        return done.stdout.split(), done.stderr, asked.read_text().count('asked')
    return run


@pytest.mark.parametrize('answer, reason', [
    ('return "GPU 1: no kernel image is available"', 'GPU 1: no kernel image is available'),
    ('std::abort()', 'exit code -6')])
def test_one_that_does_not_run_here_is_not_loaded_and_one_warning_says_why(start, answer, reason):
    printed, warned, asked = start(answer)
    assert printed == ['True', 'False'] and asked == 1
    assert warned.count('PyTorch reference') == 1 and reason in warned
    assert '- cuda: ' in warned and '- cpu: ' not in warned


def test_one_that_runs_is_loaded_and_not_asked_again_for_the_same_gpus(start):
    works = 'return nullptr'
    assert start('return "no"')[2] == 1  # not remembered
    for card, expected in (('9.0', 1), ('9.0', 0), ('8.0', 1)):
        printed, warned, asked = start(works, card=card)
        assert 'loaded' in printed and warned == '' and asked == expected, card


def test_without_a_gpu_nothing_is_asked(start):
    printed, warned, asked = start('return "never"', gpus=0)
    assert printed == ['True', 'False'] and warned == '' and asked == 0
