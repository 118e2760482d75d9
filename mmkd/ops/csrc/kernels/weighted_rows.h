// The one formula behind sums over segments, interpolation and BEV pooling, and their gradients:
//
//   sums[s][c] = sum over the terms of segment s of weight * rows[row][c]
//   dots[e]    = sum over c of rows[row][c] * factors[s][c], for each term e of segment s
//
// What the terms are, a struct says:
//
//   places, count   all places, and segments; segment s has the places begin(s) .. end(s)
//   find(place)     the segment that has a place, or -1
//   entry(s, place) the term at a place of segment s, or -1
//   row(e), weight(e), segment(e)  of a term; a row or segment of -1 leaves it out
//   kPlain          weights are 1, and row_at(place) is the row
//   kFetch, needs() for a CPU: the address of so many bytes that a place needs, worth asking for
//                   early; need not be that of anything
//
// The same bits on every device and for any number of threads: a segment is cut into chunks of
// kChunk places; the terms of a chunk are added in order, starting from 0, and then the chunks'
// sums in order. A segment of one plain row is that row. A dot product is the sum of kDotParts
// parts, see sum_parts.
#pragma once

#include <type_traits>

#include "index.h"

namespace mmkd {

constexpr int64_t kChunk = 256;

// Segments of any length: s has the places starts[s] .. starts[s + 1]. A start that does not fit
// (a caller of torch.ops.mmkd.* can hand one in) is never followed out of bounds.
template <class Index>
struct Intervals {
  const Index* starts;
  int64_t count, places;

  MMKD_HD int64_t begin(int64_t s) const { return clamp(starts[s]); }
  MMKD_HD int64_t end(int64_t s) const { return clamp(starts[s + 1]); }
  MMKD_HD int64_t find(int64_t place) const {
    const int64_t s = first_at_least(starts, count + 1, place + 1) - 1;
    return s < count ? s : -1;
  }
  MMKD_HD int64_t clamp(int64_t place) const {
    return place < 0 ? 0 : place < places ? place : places;
  }
};

template <class Index>
Intervals<Index> make_intervals(const Tensor& starts, int64_t places) {
  require(starts.dim() == 1 && starts.size(0) > 0, "starts must not be empty");
  return {data<Index>(starts), starts.size(0) - 1, places};
}

// Places of one segment.
struct Range {
  int64_t segment, begin, end;
};

template <class Terms>
MMKD_HD Range first_chunk(const Terms& terms, int64_t s) {
  const int64_t begin = terms.begin(s), end = terms.end(s);
  return {s, begin, end - begin > kChunk ? begin + kChunk : end};
}

// The other chunks: of kChunk places in a row, `window` * kChunk and those behind, at most one
// begins a chunk that is not the first of its segment. It belongs to the segment of the first of
// these places, and chunk k of a segment is in window begin / kChunk + k. So nobody has to count
// chunks, which a GPU would have to be waited for.
inline int64_t windows_of(int64_t places) {
  return places > kChunk ? (places + kChunk - 1) / kChunk : 0;
}
template <class Terms>
MMKD_HD Range later_chunk(const Terms& terms, int64_t window) {
  const int64_t place = window * kChunk, s = terms.find(place);
  const int64_t begin = s < 0 ? place : terms.begin(s);
  if (begin >= place) return {s, place, place};
  const int64_t end = terms.end(s), at = begin + (place - begin + kChunk - 1) / kChunk * kChunk;
  return {s, at, end - at > kChunk ? at + kChunk : end};
}

// Part k of a dot product adds up channels k, k + kDotParts, ..., then the parts are added as a
// tree. Parts do not depend on each other: a compiler can vectorise them, threads share them.
constexpr int kDotParts = 16;

template <class A>
MMKD_HD A sum_parts(const A* parts) {
  A eight[8];
  for (int k = 0; k < 8; ++k) eight[k] = parts[k] + parts[k + 8];
  return ((eight[0] + eight[4]) + (eight[2] + eight[6])) +
         ((eight[1] + eight[5]) + (eight[3] + eight[7]));
}

// What is computed; a tensor left out is not wanted.
struct Results {
  std::optional<Tensor> sums = {};     // (count, C) of the rows' dtype
  bool mean = false;                   // divide by the number of places
  std::optional<Tensor> factors = {};  // (count, C) of the rows' dtype
  std::optional<Tensor> dots = {};     // (entries,), zeros
};

// Whether terms know their segment, which dots need.
template <class Terms, class = void>
constexpr bool kHasDots = false;
template <class Terms>
constexpr bool kHasDots<Terms, std::void_t<decltype(&Terms::segment)>> = true;

// Rows of channels, also where a row has none.
inline int64_t rows_of(const Tensor& t) {
  int64_t rows = 1;
  for (int64_t k = 0; k + 1 < t.dim(); ++k) rows *= t.size(k);
  return rows;
}
inline int64_t channels_of(const Tensor& t) { return t.size(t.dim() - 1); }

template <class T>
constexpr ScalarType kAccumulatorType =
    std::is_same_v<acc_t<T>, double> ? ScalarType::Double : ScalarType::Float;

}  // namespace mmkd
