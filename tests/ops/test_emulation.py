"""The order of emulated threads: without a GPU it is what makes a missing barrier show."""
import os
import subprocess

import pytest

from mmkd.ops import build

PROGRAM = r"""
#include <cstdio>
#include "cuda/emulated_order.h"
int main() try {
  for (int64_t n : {0, 1, 2, 7, 512, 512}) {
    mmkd::in_emulated_order(n, [](int64_t i) { std::printf("%d ", int(i)); });
    std::puts("");
  }
  // Two phases: each thread writes, then reads what its neighbour wrote. And both in one.
  int stale[2] = {0, 0};
  for (bool merged : {false, true}) {
    int written[512] = {};
    mmkd::in_emulated_order(512, [&](int64_t t) {
      written[t] = 1;
      if (merged) stale[1] += !written[t ^ 1];
    });
    mmkd::in_emulated_order(512, [&](int64_t t) { stale[merged] += !merged && !written[t ^ 1]; });
  }
  std::printf("%d %d\n", stale[0], stale[1]);
} catch (const std::exception& e) {
  std::puts(e.what());
  return 1;
}
"""


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    if build.compiler('emulated') is None:
        pytest.skip('no C++ compiler on this machine')
    folder = tmp_path_factory.mktemp('order')
    (folder / 'order.cpp').write_text(PROGRAM)
    subprocess.run([build.compiler('emulated'), '-std=c++17', '-I', str(build.CSRC),
                    str(folder / 'order.cpp'), '-o', str(folder / 'order')], check=True)

    def run(order):
        done = subprocess.run([str(folder / 'order')], text=True, capture_output=True,
                              env=os.environ | {'MMKD_EMULATED_ORDER': order}, check=False)
        return done.returncode, done.stdout.splitlines()

    return run


def orders(program, name):
    code, lines = program(name)
    assert code == 0
    return [[int(i) for i in line.split()] for line in lines]


@pytest.mark.parametrize('name', ['', 'ascending', 'descending', 'shuffled'])
def test_everyone_runs_once_and_a_missing_barrier_shows(program, name):
    *launches, (right, merged) = orders(program, name)
    for n, launch in zip((0, 1, 2, 7, 512, 512), launches, strict=True):
        assert sorted(launch) == list(range(n))
    assert right == 0 < merged


def test_the_orders(program):
    ascending, descending, shuffled = (
        orders(program, name)[:-1] for name in ('ascending', 'descending', 'shuffled'))
    assert orders(program, '') == orders(program, 'ascending')
    assert all(launch == sorted(launch) for launch in ascending)
    assert all(launch == sorted(launch, reverse=True) for launch in descending)
    assert shuffled == orders(program, 'shuffled')[:-1]
    assert shuffled[4] != shuffled[5]
    assert shuffled[5] not in (ascending[5], descending[5])


def test_an_unknown_order_is_refused(program):
    code, lines = program('random')
    assert code == 1
    assert lines[-1] == ("MMKD_EMULATED_ORDER='random' is not one of ascending, descending, "
                         'shuffled')
