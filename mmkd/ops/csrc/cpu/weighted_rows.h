// Sums of weighted rows and dot products on the CPU; see ../kernels/weighted_rows.h. The terms of
// a chunk are gathered first, then whole rows are added or multiplied.
#pragma once

#include "sort.h"
#include "sum_terms.h"

namespace mmkd {
namespace {

constexpr int64_t kAhead = 16;         // places looked ahead
constexpr uintptr_t kBytesAhead = 2048;  // of the result

struct Device {
  explicit Device(const Tensor&) {}
};

// The values in the type that sums are kept in: halves are converted once, into `buffer`.
template <class T>
const acc_t<T>* widened(const Tensor& t, std::unique_ptr<acc_t<T>[]>& buffer) {
  const T* values = data<T>(t);
  if constexpr (std::is_same_v<T, acc_t<T>>) {
    return values;
  } else {
    buffer = uninitialized<acc_t<T>>(t.numel());
    auto* wide = buffer.get();
    for_each(t.numel(), 16384, [=](int64_t i) { wide[i] = acc_t<T>(values[i]); });
    return wide;
  }
}

// sum_terms of halves that are read once, which are not worth to be converted before; no weights.
template <class Half>
void sum_terms(const float*, const int64_t* offsets, int64_t count, const Half* rows,
               int64_t channels, float* __restrict out) {
  std::fill(out, out + channels, 0.f);
  for (int64_t k = 0; k < count; ++k)
    for (int64_t c = 0; c < channels; ++c) out[c] += float(rows[offsets[k] + c]);
}

template <class A>
struct Gathered {
  A weights[kChunk];
  int64_t offsets[kChunk], entries[kChunk], count;
};

// Results that point into their tensors.
template <class T, class D, class Terms>
struct RowWork {
  using A = acc_t<T>;
  using Row = std::conditional_t<Terms::kPlain, T, A>;
  Terms terms;
  const Row* rows;
  const A* factors;
  int64_t channels;
  bool mean;
  T* sums;   // or nullptr
  D* to_dots;  // or nullptr
  A* partial;

  // Ask for what the terms a few places on need, which may be anywhere in memory.
  MMKD_PREFETCHING void fetch_ahead(int64_t place) const {
    if constexpr (Terms::kFetch > 0) {
      if (place + kAhead >= terms.places) return;
      const int64_t row_bytes = channels * sizeof(Row);
      const uintptr_t at =
          terms.needs(place + kAhead, reinterpret_cast<uintptr_t>(rows), row_bytes);
      for (int line = 0; line < Terms::kFetch; line += 64) prefetch(at + line);
    }
  }

  MMKD_INLINE void gather(const Range& range, Gathered<A>& to) const {
    A* __restrict weights = to.weights;
    int64_t *__restrict offsets = to.offsets, *__restrict entries = to.entries;
    int64_t k = 0;
    for (int64_t place = range.begin; place < range.end; ++place) {
      fetch_ahead(place);
      const int64_t e = terms.entry(range.segment, place), row = e < 0 ? -1 : terms.row(e);
      if (row < 0) continue;
      weights[k] = A(terms.weight(e));
      offsets[k] = row * channels;
      if constexpr (kHasDots<Terms>) entries[k] = e;
      ++k;
    }
    to.count = k;
  }

  // sum = that of the terms of a chunk, if wanted, and the dots of them.
  MMKD_INLINE void chunk(const Range& range, Gathered<A>& list, A* sum) const {
    gather(range, list);
    if (sum) sum_terms(list.weights, list.offsets, list.count, rows, channels, sum);
    if constexpr (kHasDots<Terms>) {
      if (!to_dots) return;
      dots(list.offsets, list.count, rows, factors + range.segment * channels, channels,
           list.weights);
      for (int64_t k = 0; k < list.count; ++k) to_dots[list.entries[k]] = D(list.weights[k]);
    }
  }

  MMKD_INLINE void segment(int64_t s, Gathered<A>& list, A* wide) const {
    if (!sums) return chunk(first_chunk(terms, s), list, nullptr);
    const int64_t begin = terms.begin(s), size = terms.end(s) - begin;
    T* out = sums + s * channels;
    if constexpr (Terms::kPlain) {
      if (size == 1 && terms.row_at(begin) >= 0) {  // most voxels hold one point
        fetch_ahead(begin);
        std::memcpy(static_cast<void*>(out), rows + terms.row_at(begin) * channels,
                    channels * sizeof(T));
        return;
      }
    } else {
      for (int64_t c = 0; c < channels; c += 64 / sizeof(T))
        prefetch(reinterpret_cast<uintptr_t>(out + c) + kBytesAhead);
    }
    A* sum = wide;
    if constexpr (std::is_same_v<T, A>) sum = out;
    chunk({s, begin, begin + std::min(size, kChunk)}, list, sum);
    for (int64_t k = 1; k * kChunk < size; ++k) {
      const A* more = partial + (begin / kChunk + k) * channels;
      for (int64_t c = 0; c < channels; ++c) sum[c] += more[c];
    }
    if (mean && size > 1)
      for (int64_t c = 0; c < channels; ++c) sum[c] /= A(size);
    if constexpr (!std::is_same_v<T, A>)
      for (int64_t c = 0; c < channels; ++c) out[c] = T(sum[c]);
  }

  // All of [first, last), from a copy of this: its members then stay in registers.
  void later_chunks(int64_t first, int64_t last) const {
    Gathered<A> list;
    for (int64_t w = first; w < last; ++w) {
      const Range range = later_chunk(terms, w);
      if (range.begin < range.end) chunk(range, list, sums ? partial + w * channels : nullptr);
    }
  }
  void segments(int64_t first, int64_t last) const {
    const RowWork work = *this;
    Gathered<A> list;
    std::vector<A> wide(channels);
    for (int64_t s = first; s < last; ++s) work.segment(s, list, wide.data());
  }
};

// What `wanted` names, of rows of T; dots are D.
template <class T, class D = T, class Terms>
void weighted_rows(const Device&, const Terms& terms, const Tensor& rows_in,
                   const Results& wanted) {
  using A = acc_t<T>;
  const int64_t channels = channels_of(rows_in), windows = windows_of(terms.places);
  if (channels == 0) return;
  std::unique_ptr<A[]> wide_rows, wide_factors;
  std::vector<A> partial(wanted.sums ? windows * channels : 0);
  RowWork<T, D, Terms> work{terms, nullptr, nullptr, channels, wanted.mean, nullptr, nullptr,
                            partial.data()};
  if constexpr (Terms::kPlain)
    work.rows = data<T>(rows_in);
  else
    work.rows = widened<T>(rows_in, wide_rows);
  if (wanted.sums) work.sums = mutable_data<T>(*wanted.sums);
  if (wanted.dots) {
    work.to_dots = mutable_data<D>(*wanted.dots);
    work.factors = widened<T>(*wanted.factors, wide_factors);
  }
  const auto grain = [&](int64_t places) {  // how many segments of so many are worth a thread
    return std::max<int64_t>(1, 65536 / (places * channels));
  };
  torch::stable::parallel_for(0, windows, grain(kChunk), [&](int64_t first, int64_t last) {
    work.later_chunks(first, last);
  });
  const int64_t average = terms.places / std::max<int64_t>(1, terms.count) + 1;
  torch::stable::parallel_for(0, terms.count, grain(average), [&](int64_t first, int64_t last) {
    work.segments(first, last);
  });
}

}  // namespace
}  // namespace mmkd
