// bev_pool, of an index and of BEVDet's ranks, and its backward on CUDA.
#include "weighted_rows.h"

#include "../kernels/bev_pool.h"
#include "../kernels/bev_ranks.h"
#include "sorted.h"

namespace mmkd {
namespace {

// Whoever finds something wrong writes the same 1.
template <class Index>
struct MarkWrong {
  WrongRanks<Index> is_wrong;
  int32_t* wrong;

  MMKD_HD void operator()(int64_t i) const {
    if (is_wrong(i)) *wrong = 1;
  }
};

std::tuple<Tensor, Tensor, Tensor> bev_pool_ranks(
    const Tensor& depth, const Tensor& features, const Tensor& ranks_depth,
    const Tensor& ranks_feat, const Tensor& ranks_bev, const Tensor& interval_starts,
    const Tensor& interval_lengths, int64_t cells) {
  const Device device(features);
  const BevRanks in(depth, features, ranks_depth, ranks_feat, ranks_bev, interval_starts,
                    interval_lengths, cells);
  dispatch_index(in.type, "bev_pool_ranks", [&](auto index) {
    using Index = decltype(index);
    const auto check = in.check<Index>();
    for_each(device, check.elements(),
             MarkWrong<Index>{check, mutable_data<int32_t>(in.wrong)});
    for_each(device, check.cells + 1,
             FindStarts<Index, Index>{check.bev, check.ranks, mutable_data<Index>(in.first)});
  });
  return {bev_pool(depth, features, in.depth, in.feat, in.first, in.first), in.first, in.wrong};
}

MMKD_DEVICE_IMPL(m) {
  m.impl("bev_pool", TORCH_BOX(&bev_pool));
  m.impl("bev_pool_ranks", TORCH_BOX(&bev_pool_ranks));
  m.impl("bev_pool_backward", TORCH_BOX(&bev_pool_backward));
}

}  // namespace
}  // namespace mmkd
