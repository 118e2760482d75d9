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

}  // namespace mmkd
