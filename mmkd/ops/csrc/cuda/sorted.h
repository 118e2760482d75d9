// Elements sorted by id, for kernels that look through the elements of one id.
#pragma once

#include "../kernels/index.h"
#include "launch.h"

namespace mmkd {

// (order, starts) of (N,) int64 ids: those of id s are order[starts[s]:starts[s + 1]], in
// order; ids outside [0, limit) come last.
inline std::tuple<Tensor, Tensor> sorted_by_id(const Device& device, const Tensor& ids_in,
                                               int64_t limit) {
  const Tensor ids = contiguous(ids_in);
  const int64_t n = ids.size(0);
  Tensor sortable = new_empty(ids, {n}, ScalarType::Long);
  for_each(device, n, SortableIds<int64_t>{data<int64_t>(ids), limit,
                                           mutable_data<int64_t>(sortable)});
  const auto [sorted, order] = stable_sort(sortable);
  Tensor starts = new_empty(ids, {limit + 1}, ScalarType::Long);
  for_each(device, limit + 1,
           FindStarts{data<int64_t>(sorted), n, mutable_data<int64_t>(starts)});
  return {order, starts};
}

}  // namespace mmkd
