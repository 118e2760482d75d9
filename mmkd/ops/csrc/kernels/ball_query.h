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

// i = sample of the batch * queries + query.
template <class T>
struct BallQuery {
  const T *centers, *points;
  int32_t* out;
  Shell<T> shell;
  int64_t queries, n, samples;

  MMKD_HD void operator()(int64_t i) const {
    const T *c = centers + i * 3, *p = points + i / queries * n * 3;
    int32_t* mine = out + i * samples;
    int64_t found = 0;
    for (int64_t k = 0; k < n && found < samples; ++k, p += 3) {
      const T x = c[0] - p[0], y = c[1] - p[1], z = c[2] - p[2];
      if (shell.holds(x * x + y * y + z * z)) mine[found++] = int32_t(k);
    }
    fill_up(mine, found, samples);
  }
};

}  // namespace mmkd
