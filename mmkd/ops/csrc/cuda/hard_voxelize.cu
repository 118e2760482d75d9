// hard_voxelize on CUDA: points sorted by cell, voxels then numbered by their first point.
#include "../kernels/voxel_keys.h"
#include "sorted.h"

namespace mmkd {
namespace {

// Of sorted keys: starts[segment] = where it begins, and seen[point] = 1 for the first point of
// a voxel, 0 for every other. `segment` is the inclusive sum of MarkFirst.
struct FindFirstPoints {
  const int64_t *sorted, *order, *segment;
  int64_t *starts, *seen;

  MMKD_HD void operator()(int64_t i) const {
    const bool first = sorted[i] != kNoLimit && (i == 0 || sorted[i] != sorted[i - 1]);
    seen[order[i]] = first;
    if (first) starts[segment[i] - 1] = i;
  }
};

// The slot of each point, voxel * max_points + rank within the voxel, -1 where it is dropped;
// coordinates and number of points of each voxel. `rank` is the inclusive sum of `seen`: voxels
// are numbered by their first point.
struct PlacePoints {
  const int64_t *sorted, *order, *segment, *starts, *rank;
  int64_t n, voxels, max_points, cells_x, cells_y;
  int64_t* place;
  int32_t *coors, *num_points;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t key = sorted[i];
    if (key == kNoLimit) {
      place[order[i]] = -1;
      return;
    }
    const int64_t start = starts[segment[i] - 1], slot = i - start,
                  voxel = rank[order[start]] - 1;
    const bool kept = voxel < voxels;
    place[order[i]] = kept && slot < max_points ? voxel * max_points + slot : -1;
    if (kept && slot == 0) {
      coors[voxel * 3] = int32_t(key / cells_x / cells_y);
      coors[voxel * 3 + 1] = int32_t(key / cells_x % cells_y);
      coors[voxel * 3 + 2] = int32_t(key % cells_x);
    }
    if (kept && (i == n - 1 || sorted[i + 1] != key))
      num_points[voxel] = int32_t(slot < max_points ? slot + 1 : max_points);
  }
};

// One channel of one point into its slot.
template <class T>
struct CopyPoints {
  const T* points;
  const int64_t* place;
  int64_t channels;
  T* voxels;

  MMKD_HD void operator()(int64_t t) const {
    const int64_t slot = place[t / channels];
    if (slot >= 0) voxels[slot * channels + t % channels] = points[t];
  }
};

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
  const auto [sorted, order] = sort_ids<int64_t>(device, place, kNoLimit);
  for_each(device, n, MarkFirst<int64_t>{data<int64_t>(sorted), kNoLimit,
                                        mutable_data<int64_t>(first)});
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
