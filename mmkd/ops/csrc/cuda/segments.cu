// segment_sum, gather_segments and segment_max on CUDA.
#include "../kernels/segments.h"
#include "launch.h"

namespace mmkd {
namespace {

Tensor segment_sum(const Tensor& rows_in, const Tensor& inverse, const Tensor& order,
                   const Tensor& starts, bool mean) {
  const Device device(rows_in);
  const Tensor rows = contiguous(rows_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(rows, segments.rows);
  const int64_t channels = rows.size(1);
  Tensor out = new_empty(rows, {segments.count, channels}, rows.scalar_type());
  dispatch_floating(rows.scalar_type(), "segment_sum", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, segments.count * channels,
             SegmentSum<T>{data<T>(rows), segments, channels, mean, mutable_data<T>(out)});
  });
  return out;
}

Tensor gather_segments(const Tensor& values_in, const Tensor& inverse, const Tensor& order,
                       const Tensor& starts, bool mean) {
  const Device device(values_in);
  const Tensor values = contiguous(values_in);
  const SegmentIndex index(inverse, order, starts);
  const Segments segments = index.view;
  check_rows(values, segments.count);
  const int64_t channels = values.size(1);
  Tensor out = new_empty(values, {segments.rows, channels}, values.scalar_type());
  dispatch_floating(values.scalar_type(), "gather_segments", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, segments.rows * channels,
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
  check_rows(rows, segments.rows);
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
  STD_TORCH_CHECK(arg.scalar_type() == ScalarType::Int && arg.size(1) == channels,
                  "arg must be int32 and have the gradient's shape");
  Tensor out = new_empty(grad, {segments.rows, channels}, grad.scalar_type());
  dispatch_floating(grad.scalar_type(), "segment_max_backward", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, segments.rows * channels,
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
