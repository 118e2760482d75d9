// Elements sorted by id, for kernels that look through the elements of one id.
#pragma once

#include "../kernels/index.h"
#include "launch.h"

namespace mmkd {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// f(Key{}) for the integer that ids below `limit`, and `limit`, fit into: half the digits to sort.
template <class F>
void dispatch_key(int64_t limit, F&& f) {
  if (limit <= std::numeric_limits<int32_t>::max())
    f(int32_t{});
  else
    f(int64_t{});
}

// Ids outside [0, limit) become `limit`, so that they sort last.
template <class Index, class Key>
struct SortableIds {
  const Index* ids;
  int64_t limit;
  Key* sortable;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t id = ids[i];
    sortable[i] = Key(id >= 0 && id < limit ? id : limit);
  }
};

// first[i] = 1 where a new id below the limit begins in the sorted ids.
template <class Key>
struct MarkFirst {
  const Key* sorted;
  int64_t limit;
  int64_t* first;

  MMKD_HD void operator()(int64_t i) const {
    first[i] = sorted[i] != limit && (i == 0 || sorted[i] != sorted[i - 1]);
  }
};

// starts[s] = first place in the sorted ids whose id is at least s.
template <class Key, class Index>
struct FindStarts {
  const Key* sorted;
  int64_t n;
  Index* starts;

  MMKD_HD void operator()(int64_t s) const {
    starts[s] = Index(first_at_least(sorted, n, s));
  }
};

// (sorted ids, order) of N int32 or int64 ids of any shape, those outside [0, limit) last, as
// `limit`. Key: what dispatch_key says, or int64.
template <class Key>
std::tuple<Tensor, Tensor> sort_ids(const Device& device, const Tensor& ids_in, int64_t limit) {
  const Tensor ids = contiguous(ids_in);
  Tensor sortable = new_empty(ids, {ids.numel()},
                              sizeof(Key) == 4 ? ScalarType::Int : ScalarType::Long);
  dispatch_index(ids.scalar_type(), "sort_ids", [&](auto zero) {
    using Index = decltype(zero);
    for_each(device, ids.numel(),
             SortableIds<Index, Key>{data<Index>(ids), limit, mutable_data<Key>(sortable)});
  });
  return stable_sort(sortable);
}

// (order, starts) of (N,) int32 or int64 ids: those of id s are order[starts[s]:starts[s + 1]],
// in order; ids outside [0, limit) come last.
inline std::tuple<Tensor, Tensor> sorted_by_id(const Device& device, const Tensor& ids,
                                               int64_t limit) {
  Tensor sorted, order, starts = new_empty(ids, {limit + 1}, ScalarType::Long);
  dispatch_key(limit, [&](auto key) {
    using Key = decltype(key);
    std::tie(sorted, order) = sort_ids<Key>(device, ids, limit);
    for_each(device, limit + 1,
             FindStarts<Key, int64_t>{data<Key>(sorted), ids.size(0),
                                      mutable_data<int64_t>(starts)});
  });
  return {order, starts};
}

}  // namespace mmkd
