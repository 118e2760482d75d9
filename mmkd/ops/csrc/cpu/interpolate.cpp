// interpolate and its gradients on the CPU.
#include "../kernels/interpolate.h"
#include "parallel.h"

namespace mmkd {
namespace {

constexpr int64_t kRun = 64;  // channels summed side by side, in registers or the first cache

// A row of `out`, as runs of channels: add(sum, first channel, run) adds all terms.
template <class T, class Add>
void write_row(T* out, int64_t channels, const Add& add) {
  for (int64_t first = 0; first < channels; first += kRun) {
    acc_t<T> sum[kRun] = {};
    const int64_t run = std::min(kRun, channels - first);
    add(sum, first, run);
    for (int64_t c = 0; c < run; ++c) out[first + c] = T(sum[c]);
  }
}

template <class T>
void add_scaled(acc_t<T>* sum, acc_t<T> weight, const T* row, int64_t run) {
  if (run == kRun)
    for (int64_t c = 0; c < kRun; ++c) sum[c] += weight * acc_t<T>(row[c]);
  else
    for (int64_t c = 0; c < run; ++c) sum[c] += weight * acc_t<T>(row[c]);
}

int64_t grain(int64_t work_per_row) {
  return std::max<int64_t>(1, 65536 / std::max<int64_t>(1, work_per_row));
}

Tensor interpolate(const Tensor& features_in, const Tensor& indices_in,
                   const Tensor& weights_in) {
  const Tensor features = contiguous(features_in), indices = contiguous(indices_in),
               weights = contiguous(weights_in);
  const int64_t n = indices.size(0), k = indices.size(1), c = features.size(1);
  Tensor out = new_output(features, {n, c}, features.scalar_type());
  dispatch_floating(features.scalar_type(), "interpolate", [&](auto zero) {
    using T = decltype(zero);
    check_interpolation<T>("interpolate", indices, weights);
    dispatch_index(indices.scalar_type(), "interpolate", [&](auto index) {
      using Index = decltype(index);
      const Interpolate<T, Index> op{data<T>(features), data<Index>(indices),
                                     data<acc_t<T>>(weights), mutable_data<T>(out),
                                     features.size(0), c, k};
      for_each(n, grain(k * c), [&](int64_t i) {
        write_row(op.out + i * c, c, [&](acc_t<T>* sum, int64_t first, int64_t run) {
          for (int64_t e = i * k; e < (i + 1) * k; ++e) {
            const int64_t row = op.indices[e];
            if (row >= 0 && row < op.rows)
              add_scaled(sum, op.weights[e], op.features + row * c + first, run);
          }
        });
      });
    });
  });
  return out;
}

Tensor interpolate_features(const Tensor& grad_in, const Tensor& weights_in,
                            const Tensor& order_in, const Tensor& starts_in) {
  const Tensor grad = contiguous(grad_in), weights = contiguous(weights_in),
               order = contiguous(order_in), starts = contiguous(starts_in);
  const int64_t m = starts.size(0) - 1, k = weights.size(1), c = grad.size(1);
  Tensor out = new_output(grad, {m, c}, grad.scalar_type());
  dispatch_floating(grad.scalar_type(), "interpolate_features", [&](auto zero) {
    using T = decltype(zero);
    check_interpolation_index<T>("interpolate_features", grad, weights, order, starts);
    const InterpolateFeatures<T> op{data<T>(grad), data<acc_t<T>>(weights),
                                    data<int64_t>(order), data<int64_t>(starts),
                                    mutable_data<T>(out), grad.size(0), c, k};
    const int64_t entries = op.outputs * k;
    for_each(m, grain(entries / std::max<int64_t>(1, m) * c), [&](int64_t i) {
      const int64_t begin = std::max<int64_t>(0, op.starts[i]),
                    end = std::min(entries, op.starts[i + 1]);
      write_row(op.out + i * c, c, [&](acc_t<T>* sum, int64_t first, int64_t run) {
        for (int64_t j = begin; j < end; ++j) {
          const int64_t e = op.order[j];
          if (e >= 0 && e < entries)
            add_scaled(sum, op.weights[e], op.grad + e / k * c + first, run);
        }
      });
    });
  });
  return out;
}

Tensor interpolate_weights(const Tensor& grad_in, const Tensor& features_in,
                           const Tensor& indices_in) {
  const Tensor grad = contiguous(grad_in), features = contiguous(features_in),
               indices = contiguous(indices_in);
  const int64_t n = indices.size(0), k = indices.size(1), c = features.size(1);
  Tensor out;
  dispatch_floating(features.scalar_type(), "interpolate_weights", [&](auto zero) {
    using T = decltype(zero);
    check_interpolation_grad("interpolate_weights", grad, features, indices);
    out = new_output(features, {n, k}, kAccumulatorType<T>);
    dispatch_index(indices.scalar_type(), "interpolate_weights", [&](auto index) {
      using Index = decltype(index);
      for_each(n * k, grain(c),
               InterpolateWeights<T, Index>{data<T>(grad), data<T>(features),
                                            data<Index>(indices), mutable_data<acc_t<T>>(out),
                                            features.size(0), c, k});
    });
  });
  return out;
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_features", TORCH_BOX(&interpolate_features));
  m.impl("interpolate_weights", TORCH_BOX(&interpolate_weights));
}

}  // namespace
}  // namespace mmkd
