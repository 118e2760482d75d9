// Point -> linear voxel key; the same arithmetic on every device.
#pragma once

#include "../common.h"

namespace mmkd {

struct VoxelGrid {
  float size[3], low[3];  // x, y, z
  int64_t cells[3];

  // Linear number of a cell of a sample.
  MMKD_HD int64_t key(int64_t sample, int64_t z, int64_t y, int64_t x) const {
    return ((sample * cells[2] + z) * cells[1] + y) * cells[0] + x;
  }
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

// For a caller of torch.ops.mmkd.*; the Python side has checked it.
inline void check_points(const Tensor& points, const char* op) {
  require(points.dim() == 2 && points.size(1) >= 3, op, ": points need x, y and z");
}

// Cell of a coordinate along axis k, floor of a true division; -1 outside, where NaN and
// infinity are too. Compared before it is cast, so that nothing too large ever is; from 0 up
// the cast is the floor. Truncated towards zero, the interval (-1, 0) belongs to cell 0.
template <class A>
MMKD_HD int64_t cell_of(A value, const VoxelGrid& grid, int k, bool truncate = false) {
  const A cell = (value - A(grid.low[k])) / A(grid.size[k]);
  if (!((truncate ? cell > A(-1) : cell >= A(0)) && cell < A(grid.cells[k]))) return -1;
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
    keys[i] = inside ? grid.key(b, z, y, x) : -1;
  }
};

// (b, z, y, x) of a key; four times -1 of a negative one.
struct VoxelCoors {
  const int64_t* keys;
  int64_t x, y, z;  // cells
  int64_t columns;  // 4, or 3 without b
  int32_t* coors;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t key = keys[i];
    if (key < 0)
      write(i, -1, -1, -1, -1);
    else if (key <= 0xffffffff)  // most grids: 32-bit divisions cost half
      split<uint32_t>(i, uint32_t(key));
    else
      split<int64_t>(i, key);
  }

  template <class Key>
  MMKD_HD void split(int64_t i, Key key) const {
    // More cells than keys hold along x or y: everything is in the first row or plane.
    const Key row = x > key ? 0 : key / Key(x), plane = y > row ? 0 : row / Key(y),
              sample = z > plane ? 0 : plane / Key(z);
    write(i, int32_t(sample), int32_t(plane - sample * Key(z)), int32_t(row - plane * Key(y)),
          int32_t(key - row * Key(x)));
  }

  MMKD_HD void write(int64_t i, int32_t b, int32_t cz, int32_t cy, int32_t cx) const {
    int32_t* out = coors + i * columns;
    if (columns == 4) *out++ = b;
    out[0] = cz;
    out[1] = cy;
    out[2] = cx;
  }
};

}  // namespace mmkd
