// Few neighbours in few channels on CUDA (three_nn): the nearest of each query in registers.
#pragma once

#include "../kernels/neighbours.h"
#include "block.h"

namespace mmkd {

constexpr int kFew = 4;

// The nearest points so far, by distance and then by index.
template <class T>
struct Nearest {
  T distance[kFew];
  int32_t index[kFew];

  MMKD_BLOCK void clear() {
    MMKD_UNROLL
    for (int j = 0; j < kFew; ++j) {
      distance[j] = std::numeric_limits<T>::infinity();
      index[j] = -1;
    }
  }
  MMKD_BLOCK bool lacks(T far, int32_t who) const {
    const T last = distance[kFew - 1];
    return far < last || (far == last && who < index[kFew - 1]);
  }
  // In the place of the last.
  MMKD_BLOCK void add(T far, int32_t who) {
    distance[kFew - 1] = far;
    index[kFew - 1] = who;
    MMKD_UNROLL
    for (int j = kFew - 1; j > 0; --j) {
      const T a = distance[j - 1], b = distance[j];
      const int32_t of_a = index[j - 1], of_b = index[j];
      const bool swapped = b < a || (b == a && of_b < of_a);
      distance[j - 1] = swapped ? b : a;
      index[j - 1] = swapped ? of_b : of_a;
      distance[j] = swapped ? a : b;
      index[j] = swapped ? of_a : of_b;
    }
  }
};

// Block = sample * groups + group of kBlockThreads / lanes queries. A query has `lanes` threads, a
// power of two; lane l looks at the points l, l + lanes, ... of a tile that the block shares.
// Points are (B, N, C); missing channels up to kChannels are 0 in both, which changes no sum.
template <class T, int kChannels>
struct FewNeighbours {
  static constexpr int kTilePoints = 3072 / kChannels;

  Clouds<T> in;
  int64_t* indices;  // (B, Q, k)
  T* distances;
  int64_t k, groups;
  int lanes;

  union Shared {
    T tile[kTilePoints * kChannels];
    Nearest<T> nearest[kBlockThreads];
  };

  MMKD_BLOCK void operator()(int64_t block, Shared& shared) const {
    const int64_t sample = block / groups, first = block % groups * (kBlockThreads / lanes);
    const int64_t n = clamped(in.point_lengths, sample, in.n),
                  valid = clamped(in.query_lengths, sample, in.queries);
    const int channels = int(in.channels);
    const T* cloud = in.points + sample * in.n * channels;
    Private<Nearest<T>, kBlockThreads> all;
    each_thread([&](int t) { all[t].clear(); });
    for (int64_t at = 0; at < n; at += kTilePoints) {
      const int here = int(n - at < kTilePoints ? n - at : kTilePoints);
      each_thread([&](int t) {
        for (int i = t; i < here * kChannels; i += kBlockThreads) {
          const int p = i / kChannels, c = i % kChannels;
          shared.tile[i] = c < channels ? cloud[(at + p) * channels + c] : T(0);
        }
      });
      each_thread([&](int t) {
        const int64_t q = first + t / lanes;
        if (q >= valid) return;
        T query[kChannels];
        MMKD_UNROLL
        for (int c = 0; c < kChannels; ++c)
          query[c] = c < channels ? in.query[(sample * in.queries + q) * channels + c] : T(0);
        Nearest<T>& nearest = all[t];
        for (int p = t % lanes; p < here; p += lanes) {
          const T* point = shared.tile + p * kChannels;
          T sum = 0;
          MMKD_UNROLL
          for (int c = 0; c < kChannels; ++c) sum += (query[c] - point[c]) * (query[c] - point[c]);
          if (nearest.lacks(sum, int32_t(at + p))) nearest.add(sum, int32_t(at + p));
        }
      });
    }
    // The lanes of a query as a tree: lane l takes in what lane l + apart has.
    each_thread([&](int t) { shared.nearest[t] = all[t]; });
    for (int apart = lanes / 2; apart > 0; apart /= 2)
      each_thread([&](int t) {
        if (t % lanes >= apart) return;
        const Nearest<T>& other = shared.nearest[t + apart];
        for (int j = 0; j < kFew && all[t].lacks(other.distance[j], other.index[j]); ++j)
          all[t].add(other.distance[j], other.index[j]);
        shared.nearest[t] = all[t];
      });
    each_thread([&](int t) {
      const int64_t q = first + t / lanes;
      if (t % lanes != 0 || q >= in.queries) return;
      int64_t* index = indices + (sample * in.queries + q) * k;
      T* distance = distances + (sample * in.queries + q) * k;
      for (int64_t j = 0; j < k; ++j) {
        index[j] = j < kFew ? shared.nearest[t].index[j] : -1;
        distance[j] = j < kFew ? shared.nearest[t].distance[j] : std::numeric_limits<T>::infinity();
      }
    });
  }
};

}  // namespace mmkd
