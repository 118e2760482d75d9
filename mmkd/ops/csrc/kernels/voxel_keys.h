// Point -> linear voxel key; the same arithmetic on every device.
#pragma once

#include "../common.h"

namespace mmkd {

struct VoxelGrid {
  float size[3], low[3];  // x, y, z
  int64_t cells[3];
};

inline VoxelGrid make_grid(const std::vector<double>& size, const std::vector<double>& low,
                           const std::vector<int64_t>& cells) {
  VoxelGrid grid;
  for (int k = 0; k < 3; ++k) {
    grid.size[k] = float(size[k]);
    grid.low[k] = float(low[k]);
    grid.cells[k] = cells[k];
  }
  return grid;
}

// Cell of a coordinate along axis k, floor of a true division; -1 outside, where NaN and
// infinity are too. Compared before it is cast, so that nothing too large ever is; from 0 up
// the cast is the floor.
template <class A>
MMKD_HD int64_t cell_of(A value, const VoxelGrid& grid, int k) {
  const A cell = (value - A(grid.low[k])) / A(grid.size[k]);
  if (!(cell >= A(0) && cell < A(grid.cells[k]))) return -1;
  const int64_t index = int64_t(cell);
  return index < grid.cells[k] ? index : -1;
}

// keys[i] = ((batch * Z + z) * Y + y) * X + x of point i, -1 when it is outside.
template <class T>
struct VoxelKeys {
  const T* points;
  const int64_t* batch;  // or nullptr: all in sample 0
  int64_t* keys;
  int64_t channels, batch_size;
  VoxelGrid grid;

  MMKD_HD void operator()(int64_t i) const {
    using A = acc_t<T>;
    const T* p = points + i * channels;
    const int64_t x = cell_of(A(p[0]), grid, 0), y = cell_of(A(p[1]), grid, 1),
                  z = cell_of(A(p[2]), grid, 2), b = batch ? batch[i] : 0;
    const bool inside = x >= 0 && y >= 0 && z >= 0 && b >= 0 && b < batch_size;
    keys[i] = inside ? ((b * grid.cells[2] + z) * grid.cells[1] + y) * grid.cells[0] + x : -1;
  }
};

// (b, z, y, x) of a key; four times -1 of a negative one.
struct VoxelCoors {
  const int64_t* keys;
  int64_t x, y, z;  // cells
  int32_t* coors;

  MMKD_HD void operator()(int64_t i) const {
    int32_t* out = coors + i * 4;
    const int64_t key = keys[i];
    const int64_t row = key / x, plane = row / y, sample = plane / z;
    out[0] = key < 0 ? -1 : int32_t(sample);
    out[1] = key < 0 ? -1 : int32_t(plane - sample * z);
    out[2] = key < 0 ? -1 : int32_t(row - plane * y);
    out[3] = key < 0 ? -1 : int32_t(key - row * x);
  }
};

}  // namespace mmkd
