// Ranks and intervals as BEVDet gives them to bev_pool_v2: are they what they must be?
#pragma once

#include "weighted_rows.h"

namespace mmkd {

// Whether element i of the ranks, and interval i of them, is wrong.
template <class Index>
struct WrongRanks {
  const Index *depth, *feat, *bev, *starts, *lengths;
  int64_t ranks, intervals, depths, pixels, cells;

  MMKD_HD bool rank(int64_t i) const {
    return depth[i] < 0 || depth[i] >= depths || feat[i] < 0 || feat[i] >= pixels || bev[i] < 0 ||
           bev[i] >= cells || (i > 0 && bev[i] < bev[i - 1]);
  }
  // An interval begins where the one before ends, the last one ends with the ranks, and each
  // has all points of one cell. Any numbers may come: nothing here overflows.
  MMKD_HD bool interval(int64_t i) const {
    const int64_t begin = starts[i], size = lengths[i];
    if (begin < 0 || begin >= ranks || size <= 0 || size > ranks - begin) return true;
    const bool follows = i == 0 ? begin == 0
                                : starts[i - 1] >= 0 && begin - starts[i - 1] == lengths[i - 1];
    const bool whole = bev[begin] == bev[begin + size - 1] &&
                       (begin == 0 || bev[begin - 1] != bev[begin]);
    return !follows || !whole || (i == intervals - 1 && begin + size != ranks);
  }
  MMKD_HD bool operator()(int64_t i) const {
    return intervals == 0 || (i < ranks && rank(i)) || (i < intervals && interval(i));
  }
  MMKD_HD int64_t elements() const { return ranks > intervals ? ranks : intervals; }
};

// The tensors, made contiguous and kept alive, and what is found: `first` (cells + 1,), the first
// rank of each cell and the end, and `wrong` (1,), 1 or 0.
struct BevRanks {
  BevRanks(const Tensor& values, const Tensor& features, const Tensor& depth_in,
           const Tensor& feat_in, const Tensor& bev_in, const Tensor& starts_in,
           const Tensor& lengths_in, int64_t cells)
      : depth(contiguous(depth_in)), feat(contiguous(feat_in)), bev(contiguous(bev_in)),
        starts(contiguous(starts_in)), lengths(contiguous(lengths_in)), type(bev.scalar_type()),
        first(new_empty(bev, {cells + 1}, type)), wrong(new_zeros(bev, {1}, ScalarType::Int)),
        depths(values.numel()), pixels(rows_of(features)) {
    bool same = depth.numel() == bev.numel() && feat.numel() == bev.numel() &&
                starts.numel() == lengths.numel();
    for (const Tensor* t : {&depth, &feat, &starts, &lengths})
      same = same && t->scalar_type() == type;
    require(same, "bev_pool_ranks: sizes or dtypes do not go together");
  }
  template <class Index>
  WrongRanks<Index> check() const {
    return {data<Index>(depth), data<Index>(feat), data<Index>(bev), data<Index>(starts),
            data<Index>(lengths), bev.numel(), starts.numel(), depths, pixels,
            first.numel() - 1};
  }

  Tensor depth, feat, bev, starts, lengths;
  ScalarType type;
  Tensor first, wrong;
  int64_t depths, pixels;
};

}  // namespace mmkd
