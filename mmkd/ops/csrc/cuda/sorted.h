// Elements sorted by id, for kernels that look through the elements of one id.
#pragma once

#include "../kernels/index.h"
#include "launch.h"

namespace mmkd {

// (sorted ids, order) of N ids of any shape, those outside [0, limit) last.
template <class Index>
std::tuple<Tensor, Tensor> sort_ids(const Device& device, const Tensor& ids, int64_t limit) {
  Tensor sortable = new_empty(ids, {ids.numel()}, ScalarType::Long);
  for_each(device, ids.numel(),
           SortableIds<Index>{data<Index>(ids), limit, mutable_data<int64_t>(sortable)});
  return stable_sort(sortable);
}

// (order, starts) of (N,) int32 or int64 ids: those of id s are order[starts[s]:starts[s + 1]],
// in order; ids outside [0, limit) come last.
inline std::tuple<Tensor, Tensor> sorted_by_id(const Device& device, const Tensor& ids_in,
                                               int64_t limit) {
  const Tensor ids = contiguous(ids_in);
  Tensor sorted, order;
  dispatch_index(ids.scalar_type(), "sorted_by_id", [&](auto zero) {
    std::tie(sorted, order) = sort_ids<decltype(zero)>(device, ids, limit);
  });
  Tensor starts = new_empty(ids, {limit + 1}, ScalarType::Long);
  for_each(device, limit + 1,
           FindStarts<int64_t>{data<int64_t>(sorted), ids.size(0),
                               mutable_data<int64_t>(starts)});
  return {order, starts};
}

}  // namespace mmkd
