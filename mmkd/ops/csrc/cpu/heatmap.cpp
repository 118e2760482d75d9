// draw_gaussians on the CPU: each Gaussian onto its window, the planes shared out to threads.
#include "../kernels/heatmap.h"
#include "parallel.h"

namespace mmkd {
namespace {

// One quarter of a small Gaussian, which the next box of that radius uses again.
class Quarters {
 public:
  static constexpr int64_t kLargest = 31;

  // Row `down` of the quarter; `radius` is at most kLargest.
  const float* row(int64_t radius, int64_t down) {
    auto& table = tables_[radius];
    const int64_t side = radius + 1;
    if (table.empty()) {
      table.resize(side * side);
      for (int64_t y = 0; y < side; ++y)
        for (int64_t x = 0; x <= y; ++x)
          table[y * side + x] = table[x * side + y] = gaussian(x, y, radius);
    }
    return table.data() + down * side;
  }

 private:
  std::vector<float> tables_[kLargest + 1];
};

struct Canvas {
  float* values;
  int64_t height, width;

  void draw(int64_t x, int64_t y, int64_t radius, Quarters& quarters) const {
    if (x < 0 || x >= width || y < 0 || y >= height || radius < 0) return;
    const int64_t left = x - std::min(x, radius), top = y - std::min(y, radius);
    const int64_t right = x + std::min(width - 1 - x, radius),
                  bottom = y + std::min(height - 1 - y, radius);
    for (int64_t row = top; row <= bottom; ++row) {
      const int64_t down = distance(row, y);
      float* out = values + row * width;
      if (radius > Quarters::kLargest) {
        for (int64_t column = left; column <= right; ++column)
          out[column] = std::max(out[column], gaussian(distance(column, x), down, radius));
        continue;
      }
      const float* quarter = quarters.row(radius, down);
      for (int64_t column = left; column <= right; ++column)
        out[column] = std::max(out[column], quarter[distance(column, x)]);
    }
  }
};

Tensor draw_gaussians(const Tensor& centers_in, const Tensor& radii_in, const Tensor& planes_in,
                      int64_t num_planes, int64_t height, int64_t width) {
  const Tensor centers = contiguous(centers_in), radii = contiguous(radii_in),
               planes = contiguous(planes_in);
  const int64_t *center = data<int64_t>(centers), *radius = data<int64_t>(radii),
                *plane = data<int64_t>(planes);
  const int64_t n = planes.size(0), cells = height * width;
  Tensor heatmap = new_output(centers, {num_planes, height, width}, ScalarType::Float);
  float* out = mutable_data<float>(heatmap);
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, cells));
  torch::stable::parallel_for(0, num_planes, grain, [&](int64_t begin, int64_t end) {
    std::fill(out + begin * cells, out + end * cells, 0.f);
    Quarters quarters;
    for (int64_t k = 0; k < n; ++k) {
      if (plane[k] < begin || plane[k] >= end) continue;
      const Canvas canvas{out + plane[k] * cells, height, width};
      canvas.draw(center[2 * k], center[2 * k + 1], radius[k], quarters);
    }
  });
  return heatmap;
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("draw_gaussians", TORCH_BOX(&draw_gaussians));
}

}  // namespace
}  // namespace mmkd
