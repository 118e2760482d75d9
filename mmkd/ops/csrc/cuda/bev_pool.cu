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
  const T *grad, *feat;
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
            sum += A(grad[cell * channels + c]) * A(feat[p * channels + c]);
      }
      shared.parts[t] = sum;
    });
    each_thread([&](int t) {
      if (t < kEntries && first + t < points.depths)
        grad_depth[first + t] = T(sum_parts(shared.parts + t * kDotParts));
    });
  }
};

// cells (B, N, D, H, W), points (P,), pixels (P,), starts (bev cells + 1,).
template <class T, class Index>
void find_points(const Device& device, const Tensor& geometry, const Frustum& frustum,
                 const VoxelGrid& grid, bool truncate, const Tensor& cells, const Tensor& points,
                 const Tensor& pixels, const Tensor& starts) {
  const int64_t n = cells.numel();
  for_each(device, n,
           BevCells<T, Index>{data<T>(geometry), mutable_data<Index>(cells),
                              n / geometry.size(0), grid, truncate});
  const auto [sorted, order] = sort_ids<Index>(device, cells, kNoId);
  for_each(device, n,
           WritePoints<Index>{data<int64_t>(sorted), data<int64_t>(order), frustum,
                              mutable_data<Index>(points), mutable_data<Index>(pixels)});
  for_each(device, starts.numel(),
           FindStarts<Index>{data<int64_t>(sorted), n, mutable_data<Index>(starts)});
}

std::tuple<Tensor, Tensor, Tensor, Tensor> bev_pool_index(
    const Tensor& geometry_in, const std::vector<double>& voxel_size,
    const std::vector<double>& low, const std::vector<int64_t>& grid_cells, bool truncate,
    bool wide) {
  const Device device(geometry_in);
  const Tensor geometry = contiguous(geometry_in);
  const int64_t batch = geometry.size(0), cameras = geometry.size(1), bins = geometry.size(2),
                height = geometry.size(3), width = geometry.size(4),
                n = batch * cameras * bins * height * width,
                bev_cells = batch * grid_cells[0] * grid_cells[1] * grid_cells[2];
  const auto type = wide ? ScalarType::Long : ScalarType::Int;
  Tensor cells = new_empty(geometry, {batch, cameras, bins, height, width}, type);
  Tensor points = new_empty(geometry, {n}, type), pixels = new_empty(geometry, {n}, type);
  Tensor starts = new_zeros(geometry, {bev_cells + 1}, type);
  if (n == 0) return {cells, points, pixels, starts};
  const VoxelGrid grid = make_grid(voxel_size, low, grid_cells);
  dispatch_index(type, "bev_pool_index", [&](auto index) {
    dispatch_floating(geometry.scalar_type(), "bev_pool_index", [&](auto zero) {
      find_points<decltype(zero), decltype(index)>(device, geometry,
                                                   Frustum{bins, height * width}, grid, truncate,
                                                   cells, points, pixels, starts);
    });
  });
  return {cells, points, pixels, starts};
}

Tensor bev_pool(const Tensor& depth_in, const Tensor& feat_in, const Tensor& ranks_depth_in,
                const Tensor& ranks_feat_in, const Tensor& starts_in, const Tensor&) {
  const Device device(feat_in);
  const Tensor depth = contiguous(depth_in), feat = contiguous(feat_in),
               ranks_depth = contiguous(ranks_depth_in), ranks_feat = contiguous(ranks_feat_in),
               starts = contiguous(starts_in);
  check_pool(depth, feat, ranks_depth, ranks_feat, starts);
  const int64_t cells = starts.size(0) - 1, channels = feat.size(feat.dim() - 1);
  Tensor out = new_empty(feat, {cells, channels}, feat.scalar_type());
  dispatch_floating(feat.scalar_type(), "bev_pool", [&](auto zero) {
    dispatch_index(starts.scalar_type(), "bev_pool", [&](auto index) {
      using T = decltype(zero);
      using Index = decltype(index);
      for_each(device, cells * channels,
               PoolCell<T, Index>{data<T>(depth), data<T>(feat),
                                  {data<Index>(ranks_depth), data<Index>(ranks_feat),
                                   data<Index>(starts), ranks_depth.numel(), depth.numel(),
                                   rows_of(feat)},
                                  channels, mutable_data<T>(out)});
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> bev_pool_backward(
    const Tensor& grad_in, const Tensor& depth_in, const Tensor& feat_in, const Tensor& cells_in,
    const std::optional<Tensor>& pixels_in, const std::optional<Tensor>& order_in,
    const std::optional<Tensor>& starts_in) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), depth = contiguous(depth_in),
               feat = contiguous(feat_in), cells = contiguous(cells_in);
  std::optional<Tensor> pixels_of, order, starts;
  if (pixels_in) pixels_of = contiguous(*pixels_in);
  if (order_in) order = contiguous(*order_in);
  if (starts_in) starts = contiguous(*starts_in);
  check_pool_backward(grad, depth, feat, cells, pixels_of, order, starts);
  const int64_t channels = grad.size(1), pixels = rows_of(feat);
  Tensor grad_depth = new_empty(depth, {depth.numel()}, depth.scalar_type());
  Tensor grad_feat = new_empty(feat, {pixels, channels}, feat.scalar_type());
  dispatch_floating(feat.scalar_type(), "bev_pool_backward", [&](auto zero) {
    dispatch_index(cells.scalar_type(), "bev_pool_backward", [&](auto index) {
      using T = decltype(zero);
      using Index = decltype(index);
      using DepthGrad = PoolDepthGrad<T, Index, kBlockThreads>;
      const PixelPoints<Index> points{
          data<Index>(cells), order ? data<int64_t>(*order) : nullptr,
          starts ? data<int64_t>(*starts) : nullptr,
          starts ? Frustum{1, 1} : Frustum{depth.size(2), depth.size(3) * depth.size(4)},
          depth.numel(), grad.size(0)};
      for_each(device, pixels * channels,
               PoolFeatureGrad<T, Index>{data<T>(grad), data<T>(depth), points, channels,
                                         mutable_data<T>(grad_feat)});
      for_each_block(device, (depth.numel() + DepthGrad::kEntries - 1) / DepthGrad::kEntries,
                     DepthGrad{data<T>(grad), data<T>(feat), points,
                               starts ? data<Index>(*pixels_of) : nullptr, channels, pixels,
                               mutable_data<T>(grad_depth)});
    });
  });
  return {grad_depth, grad_feat};
}

MMKD_DEVICE_IMPL(m) {
  m.impl("bev_pool_index", TORCH_BOX(&bev_pool_index));
  m.impl("bev_pool", TORCH_BOX(&bev_pool));
  m.impl("bev_pool_backward", TORCH_BOX(&bev_pool_backward));
}

}  // namespace
}  // namespace mmkd
