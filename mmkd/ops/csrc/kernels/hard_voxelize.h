// Hard voxelisation: places of points in a table of voxels, one element each.
#pragma once

#include "index.h"
#include "voxel_keys.h"

namespace mmkd {

// Of sorted keys: starts[segment] = where it begins, and seen[point] = 1 for the first point of
// a voxel, 0 for every other. `segment` is the inclusive sum of MarkFirst.
struct FindFirstPoints {
  const int64_t *sorted, *order, *segment;
  int64_t *starts, *seen;

  MMKD_HD void operator()(int64_t i) const {
    const bool first = begins_segment(sorted, i);
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
    if (key == kNoId) {
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

}  // namespace mmkd
