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

}  // namespace mmkd
