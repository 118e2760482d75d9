// segment_sum, gather_segments and segment_max on the CPU: whole rows at a time, so that the
// loops over channels vectorise and each row is read or written once.
#include "weighted_rows.h"

#include "../kernels/segments.h"

namespace mmkd {
namespace {

constexpr int64_t kGrain = 512;  // segments or rows that are worth a thread

// f(first, last) over the threads. The work itself is in functions of plain arguments: what a
// lambda captures, the compiler does not keep in registers.
template <class F>
void in_parallel(int64_t n, const F& f) {
  torch::stable::parallel_for(0, n, kGrain, f);
}

// A row that is needed soon is somewhere in memory: ask for its first cache lines early (the
// hardware follows along a longer row).
template <class T>
MMKD_PREFETCHING void fetch(const T* rows, int64_t r, int64_t channels) {
  const auto row = reinterpret_cast<uintptr_t>(rows) + r * channels * sizeof(T);
  for (int line = 0; line < 256; line += 64) prefetch(row + line);
}
template <class T>
MMKD_PREFETCHING void fetch_ahead(const T* rows, const Segments& segments, int64_t j,
                                  int64_t channels) {
  if (j + kAhead < segments.places) fetch(rows, segments.order[j + kAhead], channels);
}

template <class T>
void gather_rows(const T* values, const Segments segments, int64_t channels, bool mean, T* out,
            int64_t first, int64_t last) {
  using A = acc_t<T>;
  for (int64_t r = first; r < last; ++r) {
    if (r + kAhead < segments.places) fetch(values, segments.inverse[r + kAhead], channels);
    const int64_t s = segments.of(r);
    T* target = out + r * channels;
    if (s < 0) {
      std::memset(static_cast<void*>(target), 0, channels * sizeof(T));
      continue;
    }
    const T* row = values + s * channels;
    const int64_t size = segments.starts[s + 1] - segments.starts[s];
    if (!mean || size == 1) {
      std::memcpy(target, row, channels * sizeof(T));
    } else {
      for (int64_t c = 0; c < channels; ++c) target[c] = T(A(row[c]) / A(size));
    }
  }
}

template <class T>
void max_segments(const T* rows, const Segments segments, int64_t channels, T* out, int32_t* arg,
                  int64_t first, int64_t last) {
  using A = acc_t<T>;
  std::vector<A> buffer(channels);
  A* __restrict best = buffer.data();
  for (int64_t s = first; s < last; ++s) {
    const int64_t begin = segments.begin(s), end = segments.end(s);
    T* target = out + s * channels;
    int32_t* __restrict at = arg + s * channels;
    int64_t seen = 0;
    for (int64_t j = begin; j < end; ++j) {
      fetch_ahead(rows, segments, j, channels);
      const int64_t r = segments.row_at(j);
      if (r < 0) continue;
      const T* row = rows + r * channels;
      const int32_t here = int32_t(j - begin);
      if (end - begin == 1) {  // most voxels hold one point
        std::memcpy(static_cast<void*>(target), row, channels * sizeof(T));
        std::memset(at, 0, channels * sizeof(int32_t));
      } else if (seen == 0) {
        for (int64_t c = 0; c < channels; ++c) best[c] = A(row[c]);
        std::fill(at, at + channels, here);
      } else {
        for (int64_t c = 0; c < channels; ++c) {
          const A value = A(row[c]);
          const bool larger = (best[c] == best[c]) & !(value <= best[c]);
          best[c] = larger ? value : best[c];
          at[c] = larger ? here : at[c];
        }
      }
      ++seen;
    }
    if (seen == 0) {
      std::memset(static_cast<void*>(target), 0, channels * sizeof(T));
      std::fill(at, at + channels, -1);
    } else if (end - begin > 1) {
      for (int64_t c = 0; c < channels; ++c) target[c] = T(best[c]);
    }
  }
}

template <class T>
void max_backward(const T* grad, const int32_t* arg, const Segments segments, int64_t channels,
                  T* out, int64_t first, int64_t last) {
  for (int64_t s = first; s < last; ++s) {
    const int64_t begin = segments.begin(s), end = segments.end(s);
    const T* __restrict g = grad + s * channels;
    const int32_t* __restrict at = arg + s * channels;
    for (int64_t j = begin; j < end; ++j) {
      if (segments.row_at(j) < 0) continue;
      T* __restrict target = out + segments.row_at(j) * channels;
      const int32_t here = int32_t(j - begin);
      for (int64_t c = 0; c < channels; ++c) {
        const T value = g[c];  // loaded in any case, so that the loop vectorises
        target[c] = at[c] == here ? value : T(0);
      }
    }
  }
}

Tensor gather_segments(const Tensor& values_in, const Tensor& inverse, const Tensor& order,
                       const Tensor& starts, bool mean) {
  const Tensor values = contiguous(values_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(values, segments.count);
  const int64_t channels = values.size(1);
  Tensor out = new_output(values, {segments.places, channels}, values.scalar_type());
  if (channels == 0) return out;
  dispatch_floating(values.scalar_type(), "gather_segments", [&](auto zero) {
    using T = decltype(zero);
    in_parallel(segments.places, [&](int64_t first, int64_t last) {
      gather_rows(data<T>(values), segments, channels, mean, mutable_data<T>(out), first, last);
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> segment_max(const Tensor& rows_in, const Tensor& inverse,
                                       const Tensor& order, const Tensor& starts) {
  const Tensor rows = contiguous(rows_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(rows, segments.places);
  const int64_t channels = rows.size(1);
  Tensor out = new_output(rows, {segments.count, channels}, rows.scalar_type());
  Tensor arg = new_output(rows, {segments.count, channels}, ScalarType::Int);
  if (channels == 0) return {out, arg};
  dispatch_floating(rows.scalar_type(), "segment_max", [&](auto zero) {
    using T = decltype(zero);
    in_parallel(segments.count, [&](int64_t first, int64_t last) {
      max_segments(data<T>(rows), segments, channels, mutable_data<T>(out),
                   mutable_data<int32_t>(arg), first, last);
    });
  });
  return {out, arg};
}

Tensor segment_max_backward(const Tensor& grad_in, const Tensor& arg_in, const Tensor& inverse,
                            const Tensor& order, const Tensor& starts) {
  const Tensor grad = contiguous(grad_in), arg = contiguous(arg_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(grad, segments.count);
  check_rows(arg, segments.count);
  const int64_t channels = grad.size(1);
  require(arg.scalar_type() == ScalarType::Int && arg.size(1) == channels,
          "arg must be int32 and have the gradient's shape");
  Tensor out = new_output(grad, {segments.places, channels}, grad.scalar_type());
  if (channels == 0) return out;
  dispatch_floating(grad.scalar_type(), "segment_max_backward", [&](auto zero) {
    using T = decltype(zero);
    in_parallel(segments.count, [&](int64_t first, int64_t last) {
      max_backward(data<T>(grad), data<int32_t>(arg), segments, channels, mutable_data<T>(out),
                   first, last);
    });
    // Rows of no segment are last in the order.
    for (int64_t j = segments.begin(segments.count); j < segments.places; ++j) {
      if (segments.row_at(j) < 0) continue;
      T* target = mutable_data<T>(out) + segments.row_at(j) * channels;
      std::fill(target, target + channels, T(0));
    }
  });
  return out;
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("segment_sum", TORCH_BOX(&segment_sum));
  m.impl("gather_segments", TORCH_BOX(&gather_segments));
  m.impl("segment_max", TORCH_BOX(&segment_max));
  m.impl("segment_max_backward", TORCH_BOX(&segment_max_backward));
}

}  // namespace
}  // namespace mmkd
