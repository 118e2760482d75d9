// Which box covers a cell of a bird's-eye-view map.
#pragma once

#include "../common.h"

namespace mmkd {

// A box as six numbers: center x, y, half sizes along and across the heading, cos and sin of
// the yaw. What is not a proper box has a half size of zero and covers nothing.
constexpr int kFootprint = 6;

// Strictly inside, in mmcv's order of operations. NaN is never inside.
template <class T>
MMKD_HD bool covers(const T* box, T x, T y) {
  const T shift_x = x - box[0], shift_y = y - box[1], cosine = box[4], sine = box[5];
  const T along = shift_x * cosine + shift_y * sine, across = shift_y * cosine - shift_x * sine;
  return along > -box[2] && along < box[2] && across > -box[3] && across < box[3];
}

// instance[(b * height + row) * width + column] = first box of sample b over the cell, or -1.
// `order` and `starts` sort the boxes by sample; without them all are in sample 0.
template <class T>
struct FirstBox {
  const T *boxes, *xs, *ys;
  const int64_t *order, *starts;  // or nullptr
  int64_t count, width, height;
  int64_t* instance;

  MMKD_HD void operator()(int64_t cell) const {
    const T x = xs[cell % width], y = ys[cell / width % height];
    const int64_t sample = cell / width / height;
    const int64_t begin = starts ? starts[sample] : 0,
                  end = starts ? starts[sample + 1] : sample == 0 ? count : 0;
    int64_t found = -1;
    for (int64_t i = begin; i < end && found < 0; ++i) {
      const int64_t k = order ? order[i] : i;
      if (covers(boxes + k * kFootprint, x, y)) found = k;
    }
    instance[cell] = found;
  }
};

}  // namespace mmkd
