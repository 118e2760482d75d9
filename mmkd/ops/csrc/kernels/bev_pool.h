// BEV pooling: image points (depth weight x feature row) summed per cell of the BEV grid.
#pragma once

#include "bev_pool_index.h"
#include "weighted_rows.h"

namespace mmkd {

// The points of a cell; ranks that are out of range are left out.
template <class T, class Index>
struct CellTerms : Intervals<Index> {
  static constexpr bool kPlain = false;
  static constexpr int kFetch = 64;
  const Index *ranks_depth, *ranks_feat;
  const T* depth;
  int64_t depths, pixels;

  MMKD_HD int64_t entry(int64_t, int64_t place) const { return place; }
  MMKD_HD int64_t row(int64_t e) const {
    const int64_t d = ranks_depth[e], f = ranks_feat[e];
    return d >= 0 && d < depths && f >= 0 && f < pixels ? f : -1;
  }
  MMKD_HD acc_t<T> weight(int64_t e) const { return acc_t<T>(depth[ranks_depth[e]]); }
  uintptr_t needs(int64_t place, uintptr_t, int64_t) const {
    return reinterpret_cast<uintptr_t>(depth) + ranks_depth[place] * sizeof(T);
  }
};

// What lies on a pixel: entries of depth, and the cell that each falls into. Without an order,
// those of its ray; else order[starts[pixel]] .. of any layout.
template <class T, class Index>
struct PixelTerms {
  static constexpr bool kPlain = false;
  static constexpr int kFetch = 0;
  const T* depth;
  const Index *cells, *pixels;           // of each entry; pixels: or nullptr
  const int64_t *order, *starts;         // or nullptr
  Frustum frustum;
  int64_t count, places, bev_cells;

  MMKD_HD Intervals<int64_t> given() const { return {starts, count, places}; }
  MMKD_HD int64_t begin(int64_t pixel) const {
    return starts ? given().begin(pixel) : pixel * frustum.bins;
  }
  MMKD_HD int64_t end(int64_t pixel) const {
    return starts ? given().end(pixel) : (pixel + 1) * frustum.bins;
  }
  MMKD_HD int64_t find(int64_t place) const {
    return starts ? given().find(place) : place / frustum.bins;
  }
  MMKD_HD int64_t entry(int64_t pixel, int64_t place) const {
    if (!starts) return frustum.first(pixel) + (place - pixel * frustum.bins) * frustum.plane;
    const int64_t e = order[place];
    return e >= 0 && e < places ? e : -1;
  }
  MMKD_HD int64_t row(int64_t e) const {
    const int64_t cell = cells[e];
    return cell >= 0 && cell < bev_cells ? cell : -1;
  }
  MMKD_HD acc_t<T> weight(int64_t e) const { return acc_t<T>(depth[e]); }
  MMKD_HD int64_t segment(int64_t e) const {
    const int64_t pixel = pixels ? int64_t(pixels[e]) : frustum.pixel(e);
    return pixel >= 0 && pixel < count ? pixel : -1;
  }
};

namespace {

// The last argument is for the gradient alone. What the kernels rely on is checked here and below, for
// a caller of torch.ops.mmkd.*; values they check themselves.
Tensor bev_pool(const Tensor& depth_in, const Tensor& features_in,
                       const Tensor& ranks_depth_in, const Tensor& ranks_feat_in,
                       const Tensor& starts_in, const Tensor&) {
  const Device device(features_in);
  const Tensor depth = contiguous(depth_in), features = contiguous(features_in),
               ranks_depth = contiguous(ranks_depth_in), ranks_feat = contiguous(ranks_feat_in),
               starts = contiguous(starts_in);
  require(features.dim() > 0 && ranks_depth.numel() == ranks_feat.numel() &&
              depth.scalar_type() == features.scalar_type() &&
              ranks_depth.scalar_type() == starts.scalar_type() &&
              ranks_feat.scalar_type() == starts.scalar_type(),
          "bev_pool: sizes or dtypes do not go together");
  Tensor out = new_output(features, {starts.numel() - 1, channels_of(features)},
                          features.scalar_type());
  dispatch_floating(features.scalar_type(), "bev_pool", [&](auto zero) {
    dispatch_index(starts.scalar_type(), "bev_pool", [&](auto index) {
      using T = decltype(zero);
      using Index = decltype(index);
      const CellTerms<T, Index> terms{make_intervals<Index>(starts, ranks_depth.numel()),
                                      data<Index>(ranks_depth), data<Index>(ranks_feat),
                                      data<T>(depth), depth.numel(), rows_of(features)};
      weighted_rows<T>(device, terms, features, {out});
    });
  });
  return out;
}

// Gradients of depth (flat) and of the features (F, C); one that is not needed is empty.
std::tuple<Tensor, Tensor> bev_pool_backward(
    const Tensor& grad_in, const Tensor& depth_in, const Tensor& features_in,
    const Tensor& cells_in, const std::optional<Tensor>& pixels_in,
    const std::optional<Tensor>& order_in, const std::optional<Tensor>& starts_in,
    bool need_depth, bool need_features) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), depth = contiguous(depth_in),
               features = contiguous(features_in), cells = contiguous(cells_in);
  const auto pixels = contiguous(pixels_in), order = contiguous(order_in),
             starts = contiguous(starts_in);
  bool right = grad.dim() == 2 && features.dim() > 0 && channels_of(features) == grad.size(1) &&
               cells.numel() == depth.numel() && grad.scalar_type() == features.scalar_type() &&
               depth.scalar_type() == features.scalar_type();
  const int64_t count = right ? rows_of(features) : 0;
  if (starts) {
    right = right && pixels && order && starts->numel() - 1 == count &&
            pixels->numel() == depth.numel() && order->numel() == depth.numel() &&
            pixels->scalar_type() == cells.scalar_type() &&
            order->scalar_type() == ScalarType::Long && starts->scalar_type() == ScalarType::Long;
  } else {
    right = right && depth.dim() == 5 && features.dim() == 5;
    for (int k = 0; right && k < 4; ++k) right = features.size(k) == depth.size(k < 2 ? k : k + 1);
  }
  require(right, "bev_pool_backward: sizes or dtypes do not go together");
  Results results;
  const Tensor to_depth = new_zeros(depth, {need_depth ? depth.numel() : 0}, depth.scalar_type());
  const Tensor to_features = new_output(features, {need_features ? count : 0, grad.size(1)},
                                        features.scalar_type());
  if (need_features) results.sums = to_features;
  if (need_depth) results.factors = features, results.dots = to_depth;
  dispatch_floating(features.scalar_type(), "bev_pool_backward", [&](auto zero) {
    dispatch_index(cells.scalar_type(), "bev_pool_backward", [&](auto index) {
      using T = decltype(zero);
      using Index = decltype(index);
      const PixelTerms<T, Index> terms{
          data<T>(depth), data<Index>(cells), starts ? data<Index>(*pixels) : nullptr,
          data_or_null<int64_t>(order), data_or_null<int64_t>(starts),
          starts ? Frustum{1, 1} : Frustum{depth.size(2), depth.size(3) * depth.size(4)}, count,
          depth.numel(), grad.size(0)};
      weighted_rows<T>(device, terms, grad, results);
    });
  });
  return {to_depth, to_features};
}

}  // namespace
}  // namespace mmkd
