// hard_voxelize on the CPU: a hash table numbers the voxels in the order they are first seen.
#include <cstring>

#include "../kernels/voxel_keys.h"
#include "sort.h"

namespace mmkd {
namespace {

// Cell -> voxel number; open addressing. `Key` has 32 bits wherever the cells allow it, which
// keeps the table of a nuScenes sweep inside a level-2 cache.
template <class Key, class Number>
class VoxelTable {
 public:
  explicit VoxelTable(int64_t most_voxels) {
    int bits = 4;
    while ((int64_t(1) << bits) < most_voxels + most_voxels / 2) ++bits;
    shift_ = 64 - bits;
    mask_ = (uint64_t(1) << bits) - 1;
    slots_ = uninitialized<Slot>(mask_ + 1);
    std::memset(static_cast<void*>(slots_.get()), -1, (mask_ + 1) * sizeof(Slot));
  }
  MMKD_PREFETCHING void fetch(int64_t key) const {
    prefetch(reinterpret_cast<uintptr_t>(slots_.get()) + home(key) * sizeof(Slot));
  }

  // The number of the cell; where it has none yet, `next`, which it gets if `add` is true.
  int64_t find(int64_t key, int64_t next, bool add) {
    for (uint64_t at = home(key);; at = (at + 1) & mask_) {
      Slot& slot = slots_[at];
      if (slot.number < 0) {
        if (add) slot = {Key(key), Number(next)};
        return next;
      }
      if (slot.key == Key(key)) return slot.number;
    }
  }

 private:
  struct Slot {
    Key key;
    Number number;  // -1: free
  };
  uint64_t home(int64_t key) const { return (uint64_t(key) * 0x9E3779B97F4A7C15u) >> shift_; }

  std::unique_ptr<Slot[]> slots_;
  uint64_t mask_;
  int shift_;
};

// Turns keys into places in order of the points; returns the number of voxels. first[v] is the
// point that opened voxel v, count[v] how many it keeps.
template <class Key, class Number>
int64_t number_voxels(int64_t n, int64_t max_points, int64_t most_voxels, int64_t* place,
                      int64_t* first, int32_t* count) {
  VoxelTable<Key, Number> table(most_voxels);
  int64_t voxels = 0;
  constexpr int64_t ahead = 16;
  for (int64_t i = 0; i < n; ++i) {
    if (i + ahead < n) table.fetch(place[i + ahead]);
    const int64_t key = place[i];
    place[i] = -1;
    if (key < 0) continue;
    const int64_t voxel = table.find(key, voxels, voxels < most_voxels);
    if (voxel == voxels) {
      if (voxels == most_voxels) continue;
      first[voxels] = i;
      count[voxels++] = 0;
    }
    if (count[voxel] < max_points) place[i] = voxel * max_points + count[voxel]++;
  }
  return voxels;
}

// Voxel v: zeros where it has no point, and every point from the one that opened it to the one
// that opens the next. All write different slots, so that threads may share the voxels out.
template <class T>
void fill_voxels(const T* points, int64_t n, int64_t channels, int64_t max_points,
                 const int64_t* place, const int64_t* first, const int32_t* count,
                 int64_t voxels, const VoxelGrid& grid, T* out, int32_t* coors) {
  for_each(voxels, 4096, [=](int64_t v) {
    T* tail = out + (v * max_points + count[v]) * channels;
    std::memset(static_cast<void*>(tail), 0, (max_points - count[v]) * channels * sizeof(T));
    const T* p = points + first[v] * channels;
    for (int k = 0; k < 3; ++k) coors[v * 3 + k] = cell_of(acc_t<T>(p[2 - k]), grid, 2 - k);
    const int64_t end = v + 1 < voxels ? first[v + 1] : n;
    for (int64_t i = first[v]; i < end; ++i) {
      if (place[i] < 0) continue;
      const T* from = points + i * channels;
      T* to = out + place[i] * channels;
      for (int64_t c = 0; c < channels; ++c) to[c] = from[c];
    }
  });
}

// (voxels (M, P, C), coors (M, 3), num_points (M,), place (N,)); max_voxels below 0: no limit.
std::tuple<Tensor, Tensor, Tensor, Tensor> hard_voxelize(
    const Tensor& points_in, const std::vector<double>& voxel_size,
    const std::vector<double>& low, const std::vector<int64_t>& cells, int64_t max_points,
    int64_t max_voxels) {
  check_points(points_in, "hard_voxelize");
  const Tensor points = contiguous(points_in);
  const int64_t n = points.size(0), channels = points.size(1);
  const int64_t total = cells[0] * cells[1] * cells[2];
  int64_t most = std::min(n, total);
  if (max_voxels >= 0) most = std::min(most, max_voxels);
  const VoxelGrid grid = make_grid(voxel_size, low, cells);
  Tensor place = new_output(points, {n}, ScalarType::Long), voxels, coors, num_points;
  int64_t* places = mutable_data<int64_t>(place);
  auto first = uninitialized<int64_t>(most);
  auto count = uninitialized<int32_t>(most);
  dispatch_floating(points.scalar_type(), "hard_voxelize", [&](auto zero) {
    using T = decltype(zero);
    const T* from = data<T>(points);
    for_each(n, 16384, VoxelKeys<T>{from, nullptr, places, channels, 1, grid});
    const bool narrow = total <= int64_t(1) << 32 && most <= (int64_t(1) << 31) - 1;
    const int64_t m = (narrow ? number_voxels<uint32_t, int32_t> : number_voxels<int64_t, int64_t>)(
        n, max_points, most, places, first.get(), count.get());
    voxels = new_output(points, {m, max_points, channels}, points.scalar_type());
    coors = new_output(points, {m, 3}, ScalarType::Int);
    num_points = new_output(points, {m}, ScalarType::Int);
    fill_voxels(from, n, channels, max_points, places, first.get(), count.get(), m, grid,
                mutable_data<T>(voxels), mutable_data<int32_t>(coors));
    std::copy(count.get(), count.get() + m, mutable_data<int32_t>(num_points));
  });
  return {voxels, coors, num_points, place};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("hard_voxelize", TORCH_BOX(&hard_voxelize));
}

}  // namespace
}  // namespace mmkd
