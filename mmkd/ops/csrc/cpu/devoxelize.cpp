// trilinear_corners on the CPU.
#include "../kernels/devoxelize.h"
#include "parallel.h"

namespace mmkd {
namespace {

std::tuple<Tensor, Tensor> trilinear_corners(const Tensor& points_in,
                                             const std::optional<Tensor>& batch_in,
                                             const Tensor& unique_in, int64_t batch_size,
                                             const std::vector<double>& voxel_size,
                                             const std::vector<double>& low,
                                             const std::vector<int64_t>& cells, double shift) {
  check_points(points_in, "trilinear_corners");
  const Tensor points = contiguous(points_in), unique = contiguous(unique_in);
  const int64_t n = points.size(0);
  const std::optional<Tensor> batch = contiguous(batch_in);
  const bool wide = points.scalar_type() == ScalarType::Double;
  Tensor indices = new_output(points, {n, 8}, ScalarType::Long);
  Tensor weights = new_output(points, {n, 8}, wide ? ScalarType::Double : ScalarType::Float);
  dispatch_floating(points.scalar_type(), "trilinear_corners", [&](auto zero) {
    using T = decltype(zero);
    const TrilinearCorners<T> corners{data<T>(points),
                                      data_or_null<int64_t>(batch),
                                      data<int64_t>(unique),
                                      unique.size(0),
                                      points.size(1),
                                      batch_size,
                                      make_grid(voxel_size, low, cells),
                                      acc_t<T>(shift),
                                      mutable_data<int64_t>(indices),
                                      mutable_data<acc_t<T>>(weights)};
    for_each(n, 1024, corners);
  });
  return {indices, weights};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("trilinear_corners", TORCH_BOX(&trilinear_corners));
}

}  // namespace
}  // namespace mmkd
