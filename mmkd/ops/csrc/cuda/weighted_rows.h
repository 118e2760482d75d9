// Sums of weighted rows and dot products on CUDA; see ../kernels/weighted_rows.h.
#pragma once

#include "../kernels/weighted_rows.h"
#include "launch.h"

namespace mmkd {
namespace {

Tensor new_output(const Tensor& like, std::initializer_list<int64_t> sizes, ScalarType t) {
  return new_empty(like, sizes, t);
}

// One thread for each channel of a chunk: neighbouring threads read neighbouring channels.
template <class T, class Terms>
MMKD_HD acc_t<T> sum_chunk(const Terms& terms, const T* rows, int64_t channels, int64_t c,
                           const Range& chunk) {
  acc_t<T> sum = 0;
  for (int64_t place = chunk.begin; place < chunk.end; ++place) {
    const int64_t e = terms.entry(chunk.segment, place), row = e < 0 ? -1 : terms.row(e);
    if (row >= 0) sum += acc_t<T>(terms.weight(e)) * acc_t<T>(rows[row * channels + c]);
  }
  return sum;
}

// i = window * channels + c.
template <class T, class Terms>
struct SumLaterChunks {
  Terms terms;
  const T* rows;
  int64_t channels;
  acc_t<T>* partial;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t window = i / channels;
    partial[i] = sum_chunk(terms, rows, channels, i - window * channels,
                           later_chunk(terms, window));
  }
};

// i = segment * channels + c: the first chunk, and what the others have.
template <class T, class Terms>
struct SumSegments {
  Terms terms;
  const T* rows;
  int64_t channels;
  const acc_t<T>* partial;
  bool mean;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    using A = acc_t<T>;
    const int64_t s = i / channels, c = i - s * channels, begin = terms.begin(s),
                  size = terms.end(s) - begin;
    if constexpr (Terms::kPlain) {
      const int64_t row = size == 1 ? terms.row_at(begin) : -1;
      if (row >= 0) {
        out[i] = rows[row * channels + c];
        return;
      }
    }
    A sum = sum_chunk(terms, rows, channels, c, first_chunk(terms, s));
    for (int64_t k = 1; k * kChunk < size; ++k)
      sum += partial[(begin / kChunk + k) * channels + c];
    out[i] = T(mean && size > 1 ? sum / A(size) : sum);
  }
};

// kDotParts threads sum the parts of an entry, then one adds them up.
template <class T, class D, class Terms>
struct DotEntries {
  static constexpr int kEntries = kBlockThreads / kDotParts;
  struct Shared {
    acc_t<T> parts[kBlockThreads];
  };
  Terms terms;
  const T *rows, *factors;
  int64_t channels, entries;
  D* out;

  MMKD_BLOCK void operator()(int64_t block, Shared& shared) const {
    using A = acc_t<T>;
    const int64_t first = block * kEntries;
    each_thread([&](int t) {
      const int64_t e = first + t / kDotParts;
      A sum = 0;
      if (e < entries) {
        const int64_t row = terms.row(e), s = terms.segment(e);
        if (row >= 0 && s >= 0)
          for (int64_t c = t % kDotParts; c < channels; c += kDotParts)
            sum += A(rows[row * channels + c]) * A(factors[s * channels + c]);
      }
      shared.parts[t] = sum;
    });
    each_thread([&](int t) {
      if (t < kEntries && first + t < entries)
        out[first + t] = D(sum_parts(shared.parts + t * kDotParts));
    });
  }
};

// What `wanted` names, of rows of T; dots are D.
template <class T, class D = T, class Terms>
void weighted_rows(const Device& device, const Terms& terms, const Tensor& rows,
                   const Results& wanted) {
  const int64_t channels = channels_of(rows);
  if (wanted.sums) {
    const Tensor partial = new_empty(rows, {windows_of(terms.places), channels},
                                     kAccumulatorType<T>);
    for_each(device, partial.numel(),
             SumLaterChunks<T, Terms>{terms, data<T>(rows), channels,
                                      mutable_data<acc_t<T>>(partial)});
    for_each(device, terms.count * channels,
             SumSegments<T, Terms>{terms, data<T>(rows), channels, data<acc_t<T>>(partial),
                                   wanted.mean, mutable_data<T>(*wanted.sums)});
  }
  if constexpr (kHasDots<Terms>) if (wanted.dots) {
    using Dots = DotEntries<T, D, Terms>;
    const int64_t entries = wanted.dots->numel();
    for_each_block(device, (entries + Dots::kEntries - 1) / Dots::kEntries,
                   Dots{terms, data<T>(rows), data<T>(*wanted.factors), channels, entries,
                        mutable_data<D>(*wanted.dots)});
  }
}

}  // namespace
}  // namespace mmkd
