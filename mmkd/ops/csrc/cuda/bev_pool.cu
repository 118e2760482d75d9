// bev_pool_index, bev_pool and its backward on CUDA: one thread per number of the result.
#include "../kernels/bev_pool.h"
#include "sorted.h"

namespace mmkd {
namespace {

// grad_depth of kThreads / kDotParts entries: kDotParts threads sum the parts of each, then one
// adds them up.
template <class T, class Index, int kThreads>
struct PoolDepthGrad {
  static constexpr int kEntries = kThreads / kDotParts;
  struct Shared {
    acc_t<T> parts[kThreads];
  };
  const T *grad, *features;
  PixelPoints<Index> points;
  const Index* pixels_of;  // or nullptr: the layout of a frustum
  int64_t channels, pixels;
  T* grad_depth;

  MMKD_HD int64_t pixel(int64_t entry) const {
    const int64_t p = pixels_of ? int64_t(pixels_of[entry]) : points.frustum.pixel(entry);
    return p >= 0 && p < pixels ? p : -1;
  }
  MMKD_BLOCK void operator()(int64_t block, Shared& shared) const {
    using A = acc_t<T>;
    const int64_t first = block * kEntries;
    each_thread([&](int t) {
      const int64_t entry = first + t / kDotParts;
      A sum = 0;
      if (entry < points.depths) {
        const int64_t cell = points.cell(entry), p = pixel(entry);
        if (cell >= 0 && p >= 0)
          for (int64_t c = t % kDotParts; c < channels; c += kDotParts)
            sum += A(grad[cell * channels + c]) * A(features[p * channels + c]);
      }
      shared.parts[t] = sum;
    });
    each_thread([&](int t) {
      if (t < kEntries && first + t < points.depths)
        grad_depth[first + t] = T(sum_parts(shared.parts + t * kDotParts));
    });
  }
};

template <class T, class Index>
void find_points(const Device& device, const Tensor& geometry, const VoxelGrid& grid,
                 bool truncate, const BevIndex& to) {
  const int64_t n = to.count;
  for_each(device, n,
           BevCells<T, Index>{data<T>(geometry), mutable_data<Index>(to.cells),
                              n / geometry.size(0), grid, truncate});
  const auto [sorted, order] = sort_ids<Index>(device, to.cells, kNoId);
  for_each(device, n,
           WritePoints<Index>{data<int64_t>(sorted), data<int64_t>(order), to.frustum,
                              mutable_data<Index>(to.points), mutable_data<Index>(to.pixels)});
  for_each(device, to.starts.numel(),
           FindStarts<Index>{data<int64_t>(sorted), n, mutable_data<Index>(to.starts)});
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

Tensor bev_pool(const Tensor& depth, const Tensor& features, const Tensor& ranks_depth,
                const Tensor& ranks_feat, const Tensor& starts, const Tensor&) {
  const Device device(features);
  const PoolInputs in(depth, features, ranks_depth, ranks_feat, starts);
  const int64_t cells = in.cells(), channels = in.channels();
  Tensor out = new_empty(in.features, {cells, channels}, in.features.scalar_type());
  dispatch_floating(in.features.scalar_type(), "bev_pool", [&](auto zero) {
    dispatch_index(in.starts.scalar_type(), "bev_pool", [&](auto index) {
      using T = decltype(zero);
      using Index = decltype(index);
      for_each(device, cells * channels,
               PoolCell<T, Index>{data<T>(in.depth), data<T>(in.features), in.points<Index>(),
                                  channels, mutable_data<T>(out)});
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> bev_pool_backward(
    const Tensor& grad, const Tensor& depth, const Tensor& features, const Tensor& cells,
    const std::optional<Tensor>& pixels_of, const std::optional<Tensor>& order,
    const std::optional<Tensor>& starts) {
  const Device device(grad);
  const PoolGradInputs in(grad, depth, features, cells, pixels_of, order, starts);
  const int64_t channels = in.channels(), pixels = rows_of(in.features), n = in.depth.numel();
  Tensor grad_depth = new_empty(in.depth, {n}, in.depth.scalar_type());
  Tensor grad_features = new_empty(in.features, {pixels, channels}, in.features.scalar_type());
  dispatch_floating(in.features.scalar_type(), "bev_pool_backward", [&](auto zero) {
    dispatch_index(in.cells.scalar_type(), "bev_pool_backward", [&](auto index) {
      using T = decltype(zero);
      using Index = decltype(index);
      using DepthGrad = PoolDepthGrad<T, Index, kBlockThreads>;
      const auto points = in.points<Index>();
      for_each(device, pixels * channels,
               PoolFeatureGrad<T, Index>{data<T>(in.grad), data<T>(in.depth), points, channels,
                                         mutable_data<T>(grad_features)});
      for_each_block(device, (n + DepthGrad::kEntries - 1) / DepthGrad::kEntries,
                     DepthGrad{data<T>(in.grad), data<T>(in.features), points,
                               in.starts ? data<Index>(*in.pixels) : nullptr, channels, pixels,
                               mutable_data<T>(grad_depth)});
    });
  });
  return {grad_depth, grad_features};
}

MMKD_DEVICE_IMPL(m) {
  m.impl("bev_pool_index", TORCH_BOX(&bev_pool_index));
  m.impl("bev_pool", TORCH_BOX(&bev_pool));
  m.impl("bev_pool_backward", TORCH_BOX(&bev_pool_backward));
}

}  // namespace
}  // namespace mmkd
