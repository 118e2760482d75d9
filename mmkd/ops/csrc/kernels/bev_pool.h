// BEV pooling: image points (depth weight x feature row) summed per cell of the BEV grid.
#pragma once

#include "index.h"
#include "voxel_keys.h"

namespace mmkd {

// Sums of products of channels: part k takes channels k, k + kDotParts, ..., then the parts are
// added as a tree. The order is the same in every kernel, and parts are independent of each
// other, which lets the compiler vectorise and a group of threads share the work.
constexpr int kDotParts = 16;

template <class A>
MMKD_HD A sum_parts(const A* parts) {
  A eight[8];
  for (int k = 0; k < 8; ++k) eight[k] = parts[k] + parts[k + 8];
  return ((eight[0] + eight[4]) + (eight[2] + eight[6])) +
         ((eight[1] + eight[5]) + (eight[3] + eight[7]));
}

// cells[i] = linear BEV cell of point i, -1 outside.
template <class T, class Index>
struct BevCells {
  const T* geometry;
  Index* cells;
  int64_t per_sample;
  VoxelGrid grid;
  bool truncate;

  MMKD_HD int64_t of(const T* p, int64_t sample) const {
    using A = acc_t<T>;
    const int64_t x = cell_of(A(p[0]), grid, 0, truncate), y = cell_of(A(p[1]), grid, 1, truncate),
                  z = cell_of(A(p[2]), grid, 2, truncate);
    return x < 0 || y < 0 || z < 0 ? -1 : grid.key(sample, z, y, x);
  }
  MMKD_HD void operator()(int64_t i) const {
    cells[i] = Index(of(geometry + i * 3, i / per_sample));
  }
};

// The layout (B * N, D, H * W) of points against that of pixels, (B * N, H * W).
struct Frustum {
  int64_t bins, plane;

  MMKD_HD int64_t pixel(int64_t point) const {
    return point / (bins * plane) * plane + point % plane;
  }
  MMKD_HD int64_t first(int64_t pixel) const {
    return pixel / plane * bins * plane + pixel % plane;
  }
};

// points and pixels from the points sorted by cell.
template <class Index>
struct WritePoints {
  const int64_t *sorted, *order;
  Frustum frustum;
  Index *points, *pixels;

  MMKD_HD void operator()(int64_t at) const {
    const bool inside = sorted[at] != kNoId;
    points[at] = Index(inside ? order[at] : -1);
    pixels[at] = Index(inside ? frustum.pixel(order[at]) : -1);
  }
};

// What a cell sums: its points are places starts[cell] .. starts[cell + 1] of the ranks. Ranks
// that are out of range are skipped.
template <class Index>
struct CellPoints {
  const Index *ranks_depth, *ranks_feat, *starts;
  int64_t points, depths, pixels;

  MMKD_HD int64_t begin(int64_t cell) const { return starts[cell] > 0 ? starts[cell] : 0; }
  MMKD_HD int64_t end(int64_t cell) const {
    return starts[cell + 1] < points ? starts[cell + 1] : points;
  }
  MMKD_HD bool valid(int64_t at) const {
    return ranks_depth[at] >= 0 && ranks_depth[at] < depths && ranks_feat[at] >= 0 &&
           ranks_feat[at] < pixels;
  }
};

// Which depth entries a pixel's feature was multiplied with, and in which cell each lies.
// Without `starts`, the D entries of its ray; else order[starts[pixel]] .. of any layout.
template <class Index>
struct PixelPoints {
  const Index* cells;
  const int64_t *order, *starts;  // or nullptr
  Frustum frustum;
  int64_t depths, bev_cells;

  MMKD_HD int64_t begin(int64_t pixel) const {
    return starts ? (starts[pixel] > 0 ? starts[pixel] : 0) : frustum.first(pixel);
  }
  MMKD_HD int64_t end(int64_t pixel) const {
    if (!starts) return frustum.first(pixel) + frustum.bins * frustum.plane;
    return starts[pixel + 1] < depths ? starts[pixel + 1] : depths;
  }
  MMKD_HD int64_t step() const { return starts ? 1 : frustum.plane; }
  // The depth entry at a place, and its cell; -1 where either is out of range.
  MMKD_HD int64_t depth(int64_t at) const {
    const int64_t i = order ? order[at] : at;
    return i >= 0 && i < depths ? i : -1;
  }
  MMKD_HD int64_t cell(int64_t i) const {
    return i >= 0 && cells[i] >= 0 && cells[i] < bev_cells ? int64_t(cells[i]) : -1;
  }
};

// out[cell, channel], one thread each; neighbouring threads take neighbouring channels.
template <class T, class Index>
struct PoolCell {
  const T *depth, *features;
  CellPoints<Index> points;
  int64_t channels;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    using A = acc_t<T>;
    const int64_t cell = i / channels, c = i - cell * channels, end = points.end(cell);
    A sum = 0;
    for (int64_t at = points.begin(cell); at < end; ++at)
      if (points.valid(at))
        sum += A(depth[points.ranks_depth[at]]) * A(features[points.ranks_feat[at] * channels + c]);
    out[i] = T(sum);
  }
};

// grad_features[pixel, channel], likewise.
template <class T, class Index>
struct PoolFeatureGrad {
  const T *grad, *depth;
  PixelPoints<Index> points;
  int64_t channels;
  T* grad_features;

  MMKD_HD void operator()(int64_t i) const {
    using A = acc_t<T>;
    const int64_t pixel = i / channels, c = i - pixel * channels, end = points.end(pixel),
                  step = points.step();
    A sum = 0;
    for (int64_t at = points.begin(pixel); at < end; at += step) {
      const int64_t entry = points.depth(at), cell = points.cell(entry);
      if (cell >= 0) sum += A(depth[entry]) * A(grad[cell * channels + c]);
    }
    grad_features[i] = T(sum);
  }
};

// Rows of channels, also where a row has none.
inline int64_t rows_of(const Tensor& t) {
  int64_t rows = 1;
  for (int64_t k = 0; k + 1 < t.dim(); ++k) rows *= t.size(k);
  return rows;
}

// The tensors of an index, still empty: of a geometry (B, N, D, H, W, 3) and a grid. `make` is
// new_empty or what stands for it.
struct BevIndex {
  BevIndex(const Tensor& geometry, const std::vector<int64_t>& grid, bool wide,
           decltype(&new_empty) make)
      : frustum{geometry.size(2), geometry.size(3) * geometry.size(4)},
        images(geometry.size(0) * geometry.size(1)),
        count(images * frustum.bins * frustum.plane),
        bev_cells(geometry.size(0) * grid[0] * grid[1] * grid[2]),
        type(wide ? ScalarType::Long : ScalarType::Int),
        cells(make(geometry, {geometry.size(0), geometry.size(1), geometry.size(2),
                              geometry.size(3), geometry.size(4)}, type)),
        points(make(geometry, {count}, type)), pixels(make(geometry, {count}, type)),
        starts(new_zeros(geometry, {bev_cells + 1}, type)) {}

  std::tuple<Tensor, Tensor, Tensor, Tensor> tensors() const {
    return {cells, points, pixels, starts};
  }

  Frustum frustum;
  int64_t images, count, bev_cells;
  ScalarType type;
  Tensor cells, points, pixels, starts;
};

// The tensors of bev_pool and of its backward, made contiguous and kept alive, and the views of
// their ranks. What the kernels rely on is checked here, for a caller of torch.ops.mmkd.*;
// values they check themselves.
struct PoolInputs {
  PoolInputs(const Tensor& depth_in, const Tensor& features_in, const Tensor& ranks_depth_in,
             const Tensor& ranks_feat_in, const Tensor& starts_in)
      : depth(contiguous(depth_in)), features(contiguous(features_in)),
        ranks_depth(contiguous(ranks_depth_in)), ranks_feat(contiguous(ranks_feat_in)),
        starts(contiguous(starts_in)) {
    STD_TORCH_CHECK(starts.dim() == 1 && starts.size(0) > 0 && features.dim() > 0 &&
                        ranks_depth.numel() == ranks_feat.numel() &&
                        depth.scalar_type() == features.scalar_type() &&
                        ranks_depth.scalar_type() == starts.scalar_type() &&
                        ranks_feat.scalar_type() == starts.scalar_type(),
                    "bev_pool: sizes or dtypes do not go together");
  }
  int64_t cells() const { return starts.size(0) - 1; }
  int64_t channels() const { return features.size(features.dim() - 1); }
  template <class Index>
  CellPoints<Index> points() const {
    return {data<Index>(ranks_depth), data<Index>(ranks_feat), data<Index>(starts),
            ranks_depth.numel(), depth.numel(), rows_of(features)};
  }

  Tensor depth, features, ranks_depth, ranks_feat, starts;
};

struct PoolGradInputs {
  PoolGradInputs(const Tensor& grad_in, const Tensor& depth_in, const Tensor& features_in,
                 const Tensor& cells_in, const std::optional<Tensor>& pixels_in,
                 const std::optional<Tensor>& order_in, const std::optional<Tensor>& starts_in)
      : grad(contiguous(grad_in)), depth(contiguous(depth_in)), features(contiguous(features_in)),
        cells(contiguous(cells_in)), pixels(contiguous(pixels_in)), order(contiguous(order_in)),
        starts(contiguous(starts_in)) {
    bool right = grad.dim() == 2 && features.dim() > 0 && features.size(features.dim() - 1) == grad.size(1) &&
                 cells.numel() == depth.numel() && grad.scalar_type() == features.scalar_type() &&
                 depth.scalar_type() == features.scalar_type();
    if (starts) {
      right = right && pixels && order && starts->numel() - 1 == rows_of(features) &&
              pixels->numel() == depth.numel() && order->numel() == depth.numel() &&
              pixels->scalar_type() == cells.scalar_type() &&
              order->scalar_type() == ScalarType::Long &&
              starts->scalar_type() == ScalarType::Long;
    } else {
      right = right && depth.dim() == 5 && features.dim() == 5;
      for (int k = 0; right && k < 4; ++k) right = features.size(k) == depth.size(k < 2 ? k : k + 1);
    }
    STD_TORCH_CHECK(right, "bev_pool_backward: sizes or dtypes do not go together");
  }
  int64_t channels() const { return grad.size(1); }
  template <class Index>
  PixelPoints<Index> points() const {
    return {data<Index>(cells), data_or_null<int64_t>(order), data_or_null<int64_t>(starts),
            starts ? Frustum{1, 1} : Frustum{depth.size(2), depth.size(3) * depth.size(4)},
            depth.numel(), grad.size(0)};
  }

  Tensor grad, depth, features, cells;
  std::optional<Tensor> pixels, order, starts;
};

}  // namespace mmkd
