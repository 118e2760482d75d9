// bev_pool, of an index and of BEVDet's ranks, and its backward on the CPU.
#include "weighted_rows.h"

#include "../kernels/bev_pool.h"
#include "../kernels/bev_ranks.h"

namespace mmkd {
namespace {

std::tuple<Tensor, Tensor, Tensor> bev_pool_ranks(
    const Tensor& depth, const Tensor& features, const Tensor& ranks_depth,
    const Tensor& ranks_feat, const Tensor& ranks_bev, const Tensor& interval_starts,
    const Tensor& interval_lengths, int64_t cells) {
  const BevRanks in(depth, features, ranks_depth, ranks_feat, ranks_bev, interval_starts,
                    interval_lengths, cells);
  dispatch_index(in.type, "bev_pool_ranks", [&](auto index) {
    using Index = decltype(index);
    const auto wrong = in.check<Index>();
    Index* first = mutable_data<Index>(in.first);
    bool any = false;
    int64_t next = 0;
    for (int64_t i = 0; i < wrong.elements(); ++i) any |= wrong(i);
    for (int64_t i = 0; i < wrong.ranks; ++i)
      for (const int64_t last = std::min<int64_t>(wrong.bev[i], wrong.cells); next <= last; ++next)
        first[next] = Index(i);
    std::fill(first + next, first + wrong.cells + 1, Index(wrong.ranks));
    *mutable_data<int32_t>(in.wrong) = any;
  });
  return {bev_pool(depth, features, in.depth, in.feat, in.first, in.first), in.first, in.wrong};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("bev_pool", TORCH_BOX(&bev_pool));
  m.impl("bev_pool_ranks", TORCH_BOX(&bev_pool_ranks));
  m.impl("bev_pool_backward", TORCH_BOX(&bev_pool_backward));
}

}  // namespace
}  // namespace mmkd
