// The first points in a shell around a center.
#pragma once

#include "neighbours.h"

namespace mmkd {

template <class T>
struct Shell {
  T min_square, max_square;

  MMKD_HD bool holds(T square) const {
    return square == 0 || (square >= min_square && square < max_square);
  }
};

// The places that were not filled repeat the first hit, 0 without any.
MMKD_HD void fill_up(int32_t* out, int64_t found, int64_t samples) {
  const int32_t first = found ? out[0] : 0;
  for (; found < samples; ++found) out[found] = first;
}

}  // namespace mmkd
