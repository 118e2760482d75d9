// Sums and dot products of whole rows of channels, the rows anywhere in memory.
//
// sum_terms: out[c] = sum over k of weights[k] * rows[offsets[k] + c], in order.
// dots: out[k] = sum over c of rows[offsets[k] + c] * factors[c], as sum_parts says.
#pragma once

#include <cstring>

#include "../kernels/weighted_rows.h"
#include "vectors.h"

namespace mmkd {
namespace {

constexpr int kMostVectors = 12;  // whose sums stay in 16 registers

// out[j] = sum over k of weights[k] * rows[offsets[k] + j], for kCount vectors.
template <int kBytes, int kCount, class A>
MMKD_INLINE void sum_vectors(const A* weights, const int64_t* offsets, int64_t count,
                             const A* rows, A* out) {
  using P = Pack<A, kBytes>;
  typename P::type sums[kCount] = {};
  for (int64_t k = 0; k < count; ++k) {
    const A* row = rows + offsets[k];
    for (int v = 0; v < kCount; ++v) sums[v] += weights[k] * P::at(row + v * P::size);
  }
  for (int v = 0; v < kCount; ++v) P::at(out + v * P::size) = sums[v];
}
template <int kBytes, int kMost, class A>
MMKD_INLINE void sum_up_to(int64_t vectors, const A* weights, const int64_t* offsets,
                           int64_t count, const A* rows, A* out) {
  if (vectors >= kMost)
    sum_vectors<kBytes, kMost>(weights, offsets, count, rows, out);
  else if constexpr (kMost > 1)
    sum_up_to<kBytes, kMost - 1>(vectors, weights, offsets, count, rows, out);
}

// The same for any number of channels.
template <int kBytes, class A>
MMKD_INLINE void sum_rows(const A* weights, const int64_t* offsets, int64_t count,
                          const A* rows, int64_t channels, A* out) {
  constexpr int64_t size = Pack<A, kBytes>::size;
  int64_t c = 0;
  for (int64_t vectors = channels / size; vectors > 0; vectors -= kMostVectors) {
    sum_up_to<kBytes, kMostVectors>(vectors, weights, offsets, count, rows + c, out + c);
    c += std::min<int64_t>(vectors, kMostVectors) * size;
  }
  if (c > 0 && c < channels) {  // a last vector that overlaps the one before
    c = channels - size;
    return sum_vectors<kBytes, 1>(weights, offsets, count, rows + c, out + c);
  }
  for (; c < channels; ++c) {
    A sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += weights[k] * rows[offsets[k] + c];
    out[c] = sum;
  }
}

// half = the first half of `whole` + the second.
template <class Whole, class Half>
MMKD_INLINE void fold(const Whole& whole, Half& half) {
  Half second;
  std::memcpy(&half, &whole, sizeof(Half));
  std::memcpy(&second, reinterpret_cast<const char*>(&whole) + sizeof(Half), sizeof(Half));
  half += second;
}

// sum_parts of the parts in vectors.
template <int kBytes, class A, class V, int kCount>
MMKD_INLINE A sum_of(const V (&parts)[kCount]) {
  if constexpr (kCount > 1) {
    V half[kCount / 2];
    for (int v = 0; v < kCount / 2; ++v) half[v] = parts[v] + parts[v + kCount / 2];
    return sum_of<kBytes, A>(half);
  } else if constexpr (kBytes > 16) {
    typename Pack<A, kBytes / 2>::type half[1];
    fold(parts[0], half[0]);
    return sum_of<kBytes / 2, A>(half);
  } else if constexpr (sizeof(A) == 4) {
    return (parts[0][0] + parts[0][2]) + (parts[0][1] + parts[0][3]);
  } else {
    return parts[0][0] + parts[0][1];
  }
}

// out[k] = sum over c of rows[offsets[k] + c] * factors[c], as sum_parts says; kRest: also
// channels that fill no vector.
template <int kBytes, bool kRest, class A>
MMKD_INLINE void dot_rows(const int64_t* offsets, int64_t count, const A* rows,
                          const A* factors, int64_t channels, A* out) {
  using P = Pack<A, kBytes>;
  constexpr int vectors = kDotParts / P::size;
  const int64_t whole = channels - channels % kDotParts;
  for (int64_t k = 0; k < count; ++k) {
    const A* row = rows + offsets[k];
    typename P::type parts[vectors] = {};
    for (int64_t c = 0; c < whole; c += kDotParts)
      for (int v = 0; v < vectors; ++v)
        parts[v] += P::at(row + c + v * P::size) * P::at(factors + c + v * P::size);
    if (kRest)
      for (int64_t c = whole; c < channels; ++c)
        parts[(c - whole) / P::size][(c - whole) % P::size] += row[c] * factors[c];
    out[k] = sum_of<kBytes, A>(parts);
  }
}

#define SUMS_AND_DOTS(A, kBytes, VERSION)                                                      \
  VERSION void sum_terms(const A* weights, const int64_t* offsets, int64_t count,              \
                         const A* rows, int64_t channels, A* out) {                            \
    sum_rows<kBytes>(weights, offsets, count, rows, channels, out);                            \
  }                                                                                            \
  VERSION void dots(const int64_t* offsets, int64_t count, const A* rows, const A* factors,    \
                    int64_t channels, A* out) {                                                \
    if (channels % kDotParts == 0)                                                             \
      dot_rows<kBytes, false>(offsets, count, rows, factors, channels, out);                   \
    else                                                                                       \
      dot_rows<kBytes, true>(offsets, count, rows, factors, channels, out);                    \
  }
// Not every file that sums also multiplies.
#define FOR_FLOAT(kBytes, VERSION) SUMS_AND_DOTS(float, kBytes, __attribute__((unused)) VERSION)
#define FOR_DOUBLE(kBytes, VERSION) SUMS_AND_DOTS(double, kBytes, __attribute__((unused)) VERSION)
MMKD_VERSIONS(FOR_FLOAT)
MMKD_VERSIONS(FOR_DOUBLE)
#undef FOR_FLOAT
#undef FOR_DOUBLE
#undef SUMS_AND_DOTS

}  // namespace
}  // namespace mmkd
