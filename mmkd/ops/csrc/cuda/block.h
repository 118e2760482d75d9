// What the threads of a block do together: warps, and teams of blocks.
//
// A warp runs code that all its lanes agree on, with a function of the lane where they differ.
// On the device each lane calls that function once; emulated, it is called for one lane after
// the other. So a value that lives across two such calls is Private, and all 32 lanes must get
// to each call: leave a warp or a block by a condition that its threads share, or not at all.
#pragma once

#include "launch.h"

#ifndef MMKD_EMULATE
#include <cooperative_groups.h>
#else
#include <vector>
#endif

namespace mmkd {

constexpr int kWarp = 32, kBlockWarps = kBlockThreads / kWarp;

// What is compared, int32_t or int64_t, and whose it is.
template <class Key>
struct Candidate {
  Key key;
  int32_t index;
};

#ifndef MMKD_EMULATE

// Before a loop over a Private array: only an unrolled one finds it in registers.
#define MMKD_UNROLL _Pragma("unroll")

__device__ __forceinline__ int lane_of_thread() { return int(threadIdx.x) % kWarp; }

// f(lane) for each lane; what one wrote, the others see.
template <class F>
__device__ void each_lane(const F& f) {
  f(lane_of_thread());
  __syncwarp();
}

// The lanes for which f(lane) is true, as bits.
template <class F>
__device__ uint32_t ballot(const F& f) {
  return __ballot_sync(0xffffffff, f(lane_of_thread()));
}

__device__ __forceinline__ int count_bits(uint32_t bits) { return __popc(bits); }

template <class Key>
__device__ Key warp_max_by_shuffles(Key key) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    const Key other = __shfl_xor_sync(0xffffffff, key, apart);
    key = other > key ? other : key;
  }
  return key;
}

template <class Key>
__device__ Key warp_max(Key key) {
#if __CUDA_ARCH__ >= 800
  if constexpr (sizeof(Key) == 4) return __reduce_max_sync(0xffffffff, key);
  else
#endif
    return warp_max_by_shuffles(key);
}

// The largest key_of(lane), and the lowest index_of(lane) of the lanes that have it: only they are
// asked for theirs.
template <class Key, class KeyOf, class IndexOf>
__device__ Candidate<Key> warp_largest(const KeyOf& key_of, const IndexOf& index_of) {
  const Key key = key_of(lane_of_thread()), best = warp_max(key);
  // The lowest index is the largest of their complements.
  return {best, ~warp_max(key == best ? ~int32_t(index_of(lane_of_thread()))
                                      : std::numeric_limits<int32_t>::min())};
}

// A value of each of `kCount` threads or warps.
template <class S, int kCount>
class Private {
 public:
  __device__ S& operator[](int) { return value_; }

 private:
  S value_{};
};

// kBlocks blocks, a thread block cluster where they are several: threads and warps are numbered
// across them, and each has the others' shared memory at hand. It takes a GPU of 9.0 or newer.
template <int kBlocks>
struct Team {
  static constexpr int kSize = kBlocks;
  static constexpr int kThreads = kBlocks * kBlockThreads, kWarps = kBlocks * kBlockWarps;

  static __device__ int rank() { return int(blockIdx.x) % kBlocks; }

  static __device__ void barrier() {
    if constexpr (kBlocks == 1) __syncthreads();
#if __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) cooperative_groups::this_cluster().sync();
#endif
  }

  // f(t) for each thread, f(w) for each warp, then a barrier.
  template <class F>
  static __device__ void each_thread(const F& f) {
    f(rank() * kBlockThreads + int(threadIdx.x));
    barrier();
  }
  template <class F>
  static __device__ void each_warp(const F& f) {
    f(rank() * kBlockWarps + int(threadIdx.x) / kWarp);
    barrier();
  }

  // f by one thread of all, without a barrier.
  template <class F>
  static __device__ void once(const F& f) {
    if (rank() == 0 && threadIdx.x == 0) f();
  }

  // By a warp: the value into this place of every block's shared memory.
  template <class S>
  static __device__ void post(S& place, const S& value) {
    S* to = &place;
#if __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1)
      to = cooperative_groups::this_cluster().map_shared_rank(to, lane_of_thread() % kBlocks);
#endif
    if (lane_of_thread() < kBlocks) *to = value;
  }
};

template <class F>
__global__ void __launch_bounds__(kBlockThreads, 1) for_each_team_kernel(F f) {
  __shared__ typename F::Shared shared;
  f(int64_t(blockIdx.x) / F::Team::kSize, shared);
}

// f(team, shared) for each team; false, and nothing is done, where such teams cannot run: the GPU
// has no clusters or no room for one, or this code was not compiled for them.
template <class F>
bool for_each_team(const Device& device, int64_t teams, const F& f) {
  if (teams == 0) return true;
  constexpr int blocks = F::Team::kSize;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {blocks, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(teams * blocks);
  config.blockDim = dim3(kBlockThreads);
  config.stream = device.stream();
  config.attrs = &cluster;
  config.numAttrs = blocks > 1;
  if (blocks > 1) {
    int current = 0, has = 0, fit = 0;
    cudaFuncAttributes code;
    STD_CUDA_CHECK(cudaGetDevice(&current));
    STD_CUDA_CHECK(cudaDeviceGetAttribute(&has, cudaDevAttrClusterLaunch, current));
    STD_CUDA_CHECK(cudaFuncGetAttributes(&code, for_each_team_kernel<F>));
    if (!has || code.ptxVersion < 90) return false;
    STD_CUDA_CHECK(cudaOccupancyMaxActiveClusters(&fit, for_each_team_kernel<F>, &config));
    if (fit == 0) return false;
  }
  STD_CUDA_CHECK(cudaLaunchKernelEx(&config, for_each_team_kernel<F>, f));
  return true;
}

#else  // MMKD_EMULATE

#define MMKD_UNROLL

template <class F>
void each_lane(const F& f) {
  in_emulated_order(kWarp, [&](int64_t lane) { f(int(lane)); });
}

template <class F>
uint32_t ballot(const F& f) {
  uint32_t bits = 0;
  each_lane([&](int lane) { bits |= uint32_t(f(lane) ? 1 : 0) << lane; });
  return bits;
}

inline int count_bits(uint32_t bits) { return __builtin_popcount(bits); }

template <class Key, class KeyOf, class IndexOf>
Candidate<Key> warp_largest(const KeyOf& key_of, const IndexOf& index_of) {
  Key keys[kWarp], best = std::numeric_limits<Key>::min();
  int32_t index = std::numeric_limits<int32_t>::max();
  each_lane([&](int lane) { best = std::max(best, keys[lane] = key_of(lane)); });
  each_lane([&](int lane) {
    if (keys[lane] == best) index = std::min<int32_t>(index, index_of(lane));
  });
  return {best, index};
}

template <class S, int kCount>
class Private {
 public:
  S& operator[](int i) { return values_[i]; }

 private:
  std::vector<S> values_ = std::vector<S>(kCount);
};

template <int kBlocks>
struct Team {
  static constexpr int kSize = kBlocks;
  static constexpr int kThreads = kBlocks * kBlockThreads, kWarps = kBlocks * kBlockWarps;

  template <class F>
  static void each_thread(const F& f) {
    in_emulated_order(kThreads, [&](int64_t t) { f(int(t)); });
  }
  template <class F>
  static void each_warp(const F& f) {
    in_emulated_order(kWarps, [&](int64_t w) { f(int(w)); });
  }
  template <class F>
  static void once(const F& f) {
    f();
  }
  template <class S>
  static void post(S& place, const S& value) {
    place = value;
  }
};

// In descending order there are no clusters, as on a GPU before 9.0.
template <class F>
bool for_each_team(const Device&, int64_t teams, const F& f) {
  if (F::Team::kSize > 1 && emulated_order() == EmulatedOrder::descending) return false;
  in_emulated_order(teams, [&](int64_t team) {
    typename F::Shared shared;
    f(team, shared);
  });
  return true;
}

#endif

}  // namespace mmkd
