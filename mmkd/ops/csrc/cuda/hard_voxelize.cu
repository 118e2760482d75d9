// hard_voxelize on CUDA: points sorted by cell, voxels then numbered by their first point.
#include "../kernels/hard_voxelize.h"
#include "sorted.h"

namespace mmkd {
namespace {

template <class T>
void copy_points(const Device& device, const Tensor& points, const Tensor& place,
                 const Tensor& voxels) {
  for_each(device, points.numel(), CopyPoints<T>{data<T>(points), data<int64_t>(place),
                                                 points.size(1), mutable_data<T>(voxels)});
}

// (voxels (M, P, C), coors (M, 3), num_points (M,), place (N,)); max_voxels below 0: no limit.
std::tuple<Tensor, Tensor, Tensor, Tensor> hard_voxelize(
    const Tensor& points_in, const std::vector<double>& voxel_size,
    const std::vector<double>& low, const std::vector<int64_t>& cells, int64_t max_points,
    int64_t max_voxels) {
  const Device device(points_in);
  check_points(points_in, "hard_voxelize");
  const Tensor points = contiguous(points_in);
  const int64_t n = points.size(0);
  const auto new_indices = [&] { return new_empty(points, {n}, ScalarType::Long); };
  Tensor place = new_indices();  // holds the keys first
  dispatch_floating(points.scalar_type(), "hard_voxelize", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, n, VoxelKeys<T>{data<T>(points), nullptr, mutable_data<int64_t>(place),
                                     points.size(1), 1, make_grid(voxel_size, low, cells)});
  });
  Tensor first = new_indices(), starts = new_indices();
  const auto [sorted, order] = sort_ids<int64_t>(device, place, kNoId);
  for_each(device, n, MarkFirst{data<int64_t>(sorted), mutable_data<int64_t>(first)});
  const Tensor segment = cumsum(first);
  for_each(device, n, FindFirstPoints{data<int64_t>(sorted), data<int64_t>(order),
                                      data<int64_t>(segment), mutable_data<int64_t>(starts),
                                      mutable_data<int64_t>(first)});
  const Tensor rank = cumsum(first);
  const int64_t found = n ? device.read(rank, n - 1) : 0,
                m = max_voxels >= 0 ? std::min(found, max_voxels) : found;
  Tensor voxels = new_zeros(points, {m, max_points, points.size(1)}, points.scalar_type());
  Tensor coors = new_empty(points, {m, 3}, ScalarType::Int);
  Tensor num_points = new_empty(points, {m}, ScalarType::Int);
  for_each(device, n, PlacePoints{data<int64_t>(sorted), data<int64_t>(order),
                                  data<int64_t>(segment), data<int64_t>(starts),
                                  data<int64_t>(rank), n, m, max_points, cells[0], cells[1],
                                  mutable_data<int64_t>(place), mutable_data<int32_t>(coors),
                                  mutable_data<int32_t>(num_points)});
  dispatch_floating(points.scalar_type(), "hard_voxelize", [&](auto zero) {
    copy_points<decltype(zero)>(device, points, place, voxels);
  });
  return {voxels, coors, num_points, place};
}

MMKD_DEVICE_IMPL(m) { m.impl("hard_voxelize", TORCH_BOX(&hard_voxelize)); }

}  // namespace
}  // namespace mmkd
