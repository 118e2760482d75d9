// Gaussians on class heatmaps.
#pragma once

#include "../common.h"

namespace mmkd {

// exp(-d^2 / (2 sigma^2)) with sigma = (2 radius + 1) / 6, in double as numpy computes it for
// mmdet3d. Inside the radius it is above exp(-9), so that none is small enough to be cut off.
MMKD_HD float gaussian(int64_t across, int64_t down, int64_t radius) {
  const double sigma = (2.0 * double(radius) + 1.0) / 6.0;
  const double x = double(across), y = double(down);
  return float(std::exp(-(x * x + y * y) / (2.0 * sigma * sigma)));
}

MMKD_HD int64_t distance(int64_t a, int64_t b) { return a < b ? b - a : a - b; }

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

}  // namespace mmkd
