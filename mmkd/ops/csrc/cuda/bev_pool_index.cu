// bev_pool_index on CUDA: cells, and the points sorted by them.
#include "../kernels/bev_pool_index.h"
#include "sorted.h"

namespace mmkd {
namespace {

// points and pixels from the points sorted by cell.
template <class Key, class Index>
struct WritePoints {
  const Key* sorted;
  const int64_t* order;
  int64_t bev_cells;
  Frustum frustum;
  Index *points, *pixels;

  MMKD_HD void operator()(int64_t at) const {
    const bool inside = sorted[at] < bev_cells;
    points[at] = Index(inside ? order[at] : -1);
    pixels[at] = Index(inside ? frustum.pixel(order[at]) : -1);
  }
};

template <class T, class Index>
void find_points(const Device& device, const Tensor& geometry, const VoxelGrid& grid,
                 bool truncate, const BevIndex& to) {
  const int64_t n = to.count;
  for_each(device, n,
           BevCells<T, Index>{data<T>(geometry), mutable_data<Index>(to.cells),
                              n / geometry.size(0), grid, truncate});
  dispatch_key(to.bev_cells, [&](auto key) {
    using Key = decltype(key);
    const auto [sorted, order] = sort_ids<Key>(device, to.cells, to.bev_cells);
    for_each(device, n,
             WritePoints<Key, Index>{data<Key>(sorted), data<int64_t>(order), to.bev_cells,
                                     to.frustum, mutable_data<Index>(to.points),
                                     mutable_data<Index>(to.pixels)});
    for_each(device, to.starts.numel(),
             FindStarts<Key, Index>{data<Key>(sorted), n, mutable_data<Index>(to.starts)});
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> bev_pool_index(
    const Tensor& geometry_in, const std::vector<double>& voxel_size,
    const std::vector<double>& low, const std::vector<int64_t>& grid_cells, bool truncate,
    bool wide) {
  const Device device(geometry_in);
  const Tensor geometry = contiguous(geometry_in);
  const BevIndex to(geometry, grid_cells, wide, new_empty);
  if (to.count == 0) return to.tensors();
  const VoxelGrid grid = make_grid(voxel_size, low, grid_cells);
  dispatch_index(to.type, "bev_pool_index", [&](auto index) {
    dispatch_floating(geometry.scalar_type(), "bev_pool_index", [&](auto zero) {
      find_points<decltype(zero), decltype(index)>(device, geometry, grid, truncate, to);
    });
  });
  return to.tensors();
}

MMKD_DEVICE_IMPL(m) { m.impl("bev_pool_index", TORCH_BOX(&bev_pool_index)); }

}  // namespace
}  // namespace mmkd
