// The index of BEV pooling: which image points fall into which cell of the BEV grid.
#pragma once

#include "voxel_keys.h"

namespace mmkd {

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

}  // namespace mmkd
