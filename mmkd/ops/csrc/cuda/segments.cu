// segment_sum, gather_segments and segment_max on CUDA.
#include "weighted_rows.h"

#include "../kernels/segments.h"

namespace mmkd {
namespace {

template <class T>
struct GatherSegments {
  const T* values;
  Segments segments;
  int64_t channels;
  bool mean;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t s = segments.of(i / channels), c = i % channels;
    acc_t<T> value = 0;
    if (s >= 0) {
      value = acc_t<T>(values[s * channels + c]);
      if (mean) value /= acc_t<T>(segments.starts[s + 1] - segments.starts[s]);
    }
    out[i] = T(value);
  }
};

// The largest value of a segment and which of its rows holds it, the first on ties. A NaN is
// larger than anything, and the first one stays. An empty segment gives 0 and -1.
template <class T>
struct SegmentMax {
  const T* rows;
  Segments segments;
  int64_t channels;
  T* out;
  int32_t* arg;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t s = i / channels, c = i % channels;
    const int64_t begin = segments.begin(s), end = segments.end(s);
    acc_t<T> best = 0;
    int32_t best_at = -1;
    for (int64_t j = begin; j < end; ++j) {
      const int64_t row = segments.row_at(j);
      if (row < 0) continue;
      const acc_t<T> value = acc_t<T>(rows[row * channels + c]);
      if (best_at < 0 || (best == best && !(value <= best))) {
        best = value;
        best_at = int32_t(j - begin);
      }
    }
    out[i] = T(best);
    arg[i] = best_at;
  }
};

// Each row takes the gradient of the maxima it holds; i counts rows in sorted order.
template <class T>
struct SegmentMaxBackward {
  const T* grad;
  const int32_t* arg;
  Segments segments;
  int64_t channels;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t place = i / channels, c = i % channels;
    const int64_t row = segments.row_at(place);
    if (row < 0) return;
    const int64_t s = segments.of(row);
    const bool holds = s >= 0 && arg[s * channels + c] == place - segments.starts[s];
    out[row * channels + c] = holds ? grad[s * channels + c] : T(0);
  }
};

Tensor gather_segments(const Tensor& values_in, const Tensor& inverse, const Tensor& order,
                       const Tensor& starts, bool mean) {
  const Device device(values_in);
  const Tensor values = contiguous(values_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(values, segments.count);
  const int64_t channels = values.size(1);
  Tensor out = new_empty(values, {segments.places, channels}, values.scalar_type());
  dispatch_floating(values.scalar_type(), "gather_segments", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, segments.places * channels,
             GatherSegments<T>{data<T>(values), segments, channels, mean, mutable_data<T>(out)});
  });
  return out;
}

std::tuple<Tensor, Tensor> segment_max(const Tensor& rows_in, const Tensor& inverse,
                                       const Tensor& order, const Tensor& starts) {
  const Device device(rows_in);
  const Tensor rows = contiguous(rows_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(rows, segments.places);
  const int64_t channels = rows.size(1);
  Tensor out = new_empty(rows, {segments.count, channels}, rows.scalar_type());
  Tensor arg = new_empty(rows, {segments.count, channels}, ScalarType::Int);
  dispatch_floating(rows.scalar_type(), "segment_max", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, segments.count * channels,
             SegmentMax<T>{data<T>(rows), segments, channels, mutable_data<T>(out),
                           mutable_data<int32_t>(arg)});
  });
  return {out, arg};
}

Tensor segment_max_backward(const Tensor& grad_in, const Tensor& arg_in, const Tensor& inverse,
                            const Tensor& order, const Tensor& starts) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), arg = contiguous(arg_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(grad, segments.count);
  check_rows(arg, segments.count);
  const int64_t channels = grad.size(1);
  require(arg.scalar_type() == ScalarType::Int && arg.size(1) == channels,
          "arg must be int32 and have the gradient's shape");
  Tensor out = new_empty(grad, {segments.places, channels}, grad.scalar_type());
  dispatch_floating(grad.scalar_type(), "segment_max_backward", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, segments.places * channels,
             SegmentMaxBackward<T>{data<T>(grad), data<int32_t>(arg), segments, channels,
                                   mutable_data<T>(out)});
  });
  return out;
}

MMKD_DEVICE_IMPL(m) {
  m.impl("segment_sum", TORCH_BOX(&segment_sum));
  m.impl("gather_segments", TORCH_BOX(&gather_segments));
  m.impl("segment_max", TORCH_BOX(&segment_max));
  m.impl("segment_max_backward", TORCH_BOX(&segment_max_backward));
}

}  // namespace
}  // namespace mmkd
