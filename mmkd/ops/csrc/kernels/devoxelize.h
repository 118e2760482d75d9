// The eight voxels around a point, and their trilinear weights.
#pragma once

#include "index.h"
#include "voxel_keys.h"

namespace mmkd {

template <class T>
struct TrilinearCorners {
  const T* points;
  const int64_t* batch;   // or nullptr: all in sample 0
  const int64_t* unique;  // sorted keys of the voxels
  int64_t voxels, channels, batch_size;
  VoxelGrid grid;
  acc_t<T> shift;  // 0: a voxel's feature sits at its lower corner; 0.5: at its center
  int64_t* indices;
  acc_t<T>* weights;

  MMKD_HD void operator()(int64_t i) const {
    using A = acc_t<T>;
    const int64_t b = batch ? batch[i] : 0;
    bool near = b >= 0 && b < batch_size;
    int64_t lower[3];
    A upper_weight[3];
    for (int k = 0; k < 3; ++k) {
      const A q = (A(points[i * channels + k]) - A(grid.low[k])) / A(grid.size[k]) - shift;
      // Compared before it is cast; one cell outside still has a neighbour inside.
      const bool here = q >= A(-1) && q < A(grid.cells[k]);
      near = near && here;
      const A below = here ? floor(q) : A(0);
      lower[k] = int64_t(below);
      upper_weight[k] = here ? q - below : A(0);
    }
    A found[8], sum = 0;
    for (int yz = 0; yz < 4; ++yz) {
      const int up_y = yz >> 1, up_z = yz & 1;
      const int64_t y = lower[1] + up_y, z = lower[2] + up_z;
      const bool row = near && y >= 0 && y < grid.cells[1] && z >= 0 && z < grid.cells[2];
      const int64_t key = row ? grid.key(b, z, y, lower[0]) : 0;
      // x is fastest: the next key is next to it.
      int64_t at = row ? first_at_least(unique, voxels, key) : voxels;
      for (int up_x = 0; up_x < 2; ++up_x) {
        const int64_t x = lower[0] + up_x;
        const bool is_voxel = row && x >= 0 && x < grid.cells[0] && at < voxels &&
                              unique[at] == key + up_x;
        const int corner = up_x * 4 + yz;
        indices[i * 8 + corner] = is_voxel ? at : -1;
        const A wx = up_x ? upper_weight[0] : A(1) - upper_weight[0];
        const A wy = up_y ? upper_weight[1] : A(1) - upper_weight[1];
        const A wz = up_z ? upper_weight[2] : A(1) - upper_weight[2];
        found[corner] = is_voxel ? wx * wy * wz : A(0);
        // The key itself may be a cell of the row before (x = -1): step over it alike.
        at += at < voxels && row && unique[at] == key + up_x;
      }
    }
    for (int corner = 0; corner < 8; ++corner) sum += found[corner];
    sum += A(1e-8);
    for (int corner = 0; corner < 8; ++corner) weights[i * 8 + corner] = found[corner] / sum;
  }
};

}  // namespace mmkd
