// draw_gaussians on CUDA: one thread per cell looks through the Gaussians of its plane.
#include "../kernels/heatmap.h"
#include "sorted.h"

namespace mmkd {
namespace {

// heatmap[(plane * height + row) * width + column] = largest Gaussian of that plane there;
// `order` and `starts` sort the Gaussians by plane.
struct LargestGaussian {
  const int64_t *centers, *radii, *order, *starts;
  int64_t height, width;
  float* heatmap;

  MMKD_HD void operator()(int64_t cell) const {
    const int64_t column = cell % width, row = cell / width % height,
                  plane = cell / width / height;
    float best = 0;
    for (int64_t i = starts[plane]; i < starts[plane + 1]; ++i) {
      const int64_t k = order[i], radius = radii[k], x = centers[k * 2], y = centers[k * 2 + 1];
      if (x < 0 || x >= width || y < 0 || y >= height) continue;
      const int64_t across = distance(column, x), down = distance(row, y);
      if (across > radius || down > radius) continue;
      const float value = gaussian(across, down, radius);
      best = value > best ? value : best;
    }
    heatmap[cell] = best;
  }
};

Tensor draw_gaussians(const Tensor& centers_in, const Tensor& radii_in, const Tensor& planes_in,
                      int64_t num_planes, int64_t height, int64_t width) {
  const Device device(centers_in);
  const Tensor centers = contiguous(centers_in), radii = contiguous(radii_in);
  const auto [order, starts] = sorted_by_id(device, planes_in, num_planes);
  Tensor heatmap = new_empty(centers, {num_planes, height, width}, ScalarType::Float);
  for_each(device, heatmap.numel(),
           LargestGaussian{data<int64_t>(centers), data<int64_t>(radii), data<int64_t>(order),
                           data<int64_t>(starts), height, width, mutable_data<float>(heatmap)});
  return heatmap;
}

MMKD_DEVICE_IMPL(m) { m.impl("draw_gaussians", TORCH_BOX(&draw_gaussians)); }

}  // namespace
}  // namespace mmkd
