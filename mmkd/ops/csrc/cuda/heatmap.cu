// draw_gaussians on CUDA: one thread per cell looks through the Gaussians of its plane.
#include "../kernels/heatmap.h"
#include "sorted.h"

namespace mmkd {
namespace {

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
