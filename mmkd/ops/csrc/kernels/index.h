// Looking into ascending numbers.
#pragma once

#include "../common.h"

namespace mmkd {

// First of n ascending numbers that is at least `least`, n without one.
template <class Index>
MMKD_HD int64_t first_at_least(const Index* sorted, int64_t n, int64_t least) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sorted[middle] < least)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace mmkd
