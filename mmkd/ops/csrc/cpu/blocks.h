// Points in blocks of kLanes: channel 0 of all of them, then channel 1, ...
#pragma once

#include "parallel.h"
#include "vectors.h"

namespace mmkd {
namespace {

template <class T>
int64_t blocks_of(int64_t points) {
  return (points + kLanes<T> - 1) / kLanes<T>;
}

// Points (N, C) into blocks; the last is filled up with NaN, which is near
// nothing.
template <class T>
void into_blocks(const T* points, int64_t n, int64_t channels, T* blocks) {
  constexpr int lanes = kLanes<T>;
  const int64_t grain = std::max<int64_t>(1, 16384 / (channels * lanes + 1));
  for_each(blocks_of<T>(n), grain, [&](int64_t b) {
    T* block = blocks + b * channels * lanes;
    for (int64_t l = 0; l < lanes; ++l) {
      const int64_t p = b * lanes + l;
      for (int64_t c = 0; c < channels; ++c)
        block[c * lanes + l] = p < n ? points[p * channels + c]
                                     : std::numeric_limits<T>::quiet_NaN();
    }
  });
}

// Whether any value of a block is at most `limit`; few blocks have one.
template <int kBytes, class T>
MMKD_INLINE bool any_at_most(const T* values, T limit) {
  using P = Pack<T, kBytes>;
  using Bits = typename Pack<long long, kBytes>::type;
  Bits below = {};
  for (int at = 0; at < kLanes<T>; at += P::size) below |= (Bits)(P::at(values + at) <= limit);
  long long any = 0;
  for (int l = 0; l < kBytes / 8; ++l) any |= below[l];
  return any != 0;
}

// Squared distances in three dimensions to the points of some blocks. Puts the places of those
// that are at most `limit` into `found`, in order, which has room for one more; returns how many.
template <int kBytes, class T>
MMKD_INLINE int scan_blocks(const T* query, const T* points, int64_t blocks, T limit, T* squares,
                            int32_t* found) {
  using P = Pack<T, kBytes>;
  constexpr int lanes = kLanes<T>;
  int count = 0;
  for (int b = 0; b < blocks; ++b, points += 3 * lanes) {
    for (int at = 0; at < lanes; at += P::size) {
      const typename P::type x = query[0] - P::at(points + at);
      const typename P::type y = query[1] - P::at(points + lanes + at);
      const typename P::type z = query[2] - P::at(points + 2 * lanes + at);
      P::at(squares + b * lanes + at) = x * x + y * y + z * z;
    }
    if (!any_at_most<kBytes>(squares + b * lanes, limit)) continue;
    for (int l = b * lanes; l < (b + 1) * lanes; ++l) {
      found[count] = l;
      count += squares[l] <= limit;
    }
  }
  return count;
}

}  // namespace
}  // namespace mmkd
