// bev_pool_index on the CPU.
#include "../kernels/bev_pool_index.h"
#include "parallel.h"

namespace mmkd {
namespace {

// A stable counting sort of the points by cell. Each chunk of image rows counts on its own.
template <class T, class Index>
void sort_points(const BevCells<T, Index>& find, int64_t cameras, const BevIndex& to) {
  const Frustum frustum = to.frustum;
  Index *points = mutable_data<Index>(to.points), *pixels = mutable_data<Index>(to.pixels),
        *starts = mutable_data<Index>(to.starts);
  const int64_t rows = to.images * frustum.bins, n = to.count, bev_cells = to.bev_cells;
  const int64_t threads = torch::stable::get_num_threads();
  // As many counters as points at most.
  const int64_t chunks = std::max<int64_t>(1, std::min({threads, rows, n / bev_cells}));
  std::vector<Index> next(chunks * bev_cells, 0);
  for_each(chunks, 1, [&](int64_t chunk) {
    Index* counts = next.data() + chunk * bev_cells;
    for (int64_t row = rows * chunk / chunks; row < rows * (chunk + 1) / chunks; ++row) {
      const int64_t sample = row / frustum.bins / cameras;
      for (int64_t i = row * frustum.plane; i < (row + 1) * frustum.plane; ++i) {
        const int64_t cell = find.of(find.geometry + i * 3, sample);
        find.cells[i] = Index(cell);
        if (cell >= 0) ++counts[cell];
      }
    }
  });
  Index total = 0;
  for (int64_t cell = 0; cell < bev_cells; ++cell) {
    starts[cell] = total;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const Index here = next[chunk * bev_cells + cell];
      next[chunk * bev_cells + cell] = total;
      total += here;
    }
  }
  starts[bev_cells] = total;
  for_each(chunks, 1, [&](int64_t chunk) {
    Index* place = next.data() + chunk * bev_cells;
    for (int64_t row = rows * chunk / chunks; row < rows * (chunk + 1) / chunks; ++row) {
      const Index pixel = Index(row / frustum.bins * frustum.plane);
      for (int64_t k = 0, i = row * frustum.plane; k < frustum.plane; ++k, ++i) {
        if (find.cells[i] < 0) continue;
        const Index at = place[find.cells[i]]++;
        points[at] = Index(i);
        pixels[at] = pixel + Index(k);
      }
    }
  });
  std::fill(points + total, points + n, Index(-1));
  std::fill(pixels + total, pixels + n, Index(-1));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> bev_pool_index(
    const Tensor& geometry_in, const std::vector<double>& voxel_size,
    const std::vector<double>& low, const std::vector<int64_t>& grid_cells, bool truncate,
    bool wide) {
  const Tensor geometry = contiguous(geometry_in);
  const BevIndex to(geometry, grid_cells, wide, new_output);
  if (to.count == 0) return to.tensors();
  dispatch_index(to.type, "bev_pool_index", [&](auto index) {
    dispatch_floating(geometry.scalar_type(), "bev_pool_index", [&](auto zero) {
      using T = decltype(zero);
      using Index = decltype(index);
      const BevCells<T, Index> find{data<T>(geometry), mutable_data<Index>(to.cells),
                                    to.count / geometry.size(0),
                                    make_grid(voxel_size, low, grid_cells), truncate};
      sort_points(find, geometry.size(1), to);
    });
  });
  return to.tensors();
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("bev_pool_index", TORCH_BOX(&bev_pool_index));
}

}  // namespace
}  // namespace mmkd
