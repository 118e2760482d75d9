// interpolate and its gradients on CUDA: neighbouring threads have neighbouring channels.
#include "../kernels/interpolate.h"
#include "launch.h"

namespace mmkd {
namespace {

Tensor interpolate(const Tensor& features_in, const Tensor& indices_in,
                   const Tensor& weights_in) {
  const Device device(features_in);
  const Tensor features = contiguous(features_in), indices = contiguous(indices_in),
               weights = contiguous(weights_in);
  const int64_t n = indices.size(0), c = features.size(1);
  Tensor out = new_empty(features, {n, c}, features.scalar_type());
  dispatch_floating(features.scalar_type(), "interpolate", [&](auto zero) {
    using T = decltype(zero);
    check_interpolation<T>("interpolate", indices, weights);
    dispatch_index(indices.scalar_type(), "interpolate", [&](auto index) {
      using Index = decltype(index);
      for_each(device, n * c,
               Interpolate<T, Index>{data<T>(features), data<Index>(indices),
                                     data<acc_t<T>>(weights), mutable_data<T>(out),
                                     features.size(0), c, indices.size(1)});
    });
  });
  return out;
}

Tensor interpolate_features(const Tensor& grad_in, const Tensor& weights_in,
                            const Tensor& order_in, const Tensor& starts_in) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), weights = contiguous(weights_in),
               order = contiguous(order_in), starts = contiguous(starts_in);
  const int64_t m = starts.size(0) - 1, c = grad.size(1);
  Tensor out = new_empty(grad, {m, c}, grad.scalar_type());
  dispatch_floating(grad.scalar_type(), "interpolate_features", [&](auto zero) {
    using T = decltype(zero);
    check_interpolation_index<T>("interpolate_features", grad, weights, order, starts);
    for_each(device, m * c,
             InterpolateFeatures<T>{data<T>(grad), data<acc_t<T>>(weights),
                                    data<int64_t>(order), data<int64_t>(starts),
                                    mutable_data<T>(out), grad.size(0), c, weights.size(1)});
  });
  return out;
}

Tensor interpolate_weights(const Tensor& grad_in, const Tensor& features_in,
                           const Tensor& indices_in) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), features = contiguous(features_in),
               indices = contiguous(indices_in);
  const int64_t n = indices.size(0), k = indices.size(1);
  Tensor out;
  dispatch_floating(features.scalar_type(), "interpolate_weights", [&](auto zero) {
    using T = decltype(zero);
    check_interpolation_grad("interpolate_weights", grad, features, indices);
    out = new_empty(features, {n, k}, kAccumulatorType<T>);
    dispatch_index(indices.scalar_type(), "interpolate_weights", [&](auto index) {
      using Index = decltype(index);
      for_each(device, n * k,
               InterpolateWeights<T, Index>{data<T>(grad), data<T>(features),
                                            data<Index>(indices), mutable_data<acc_t<T>>(out),
                                            features.size(0), features.size(1), k});
    });
  });
  return out;
}

MMKD_DEVICE_IMPL(m) {
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_features", TORCH_BOX(&interpolate_features));
  m.impl("interpolate_weights", TORCH_BOX(&interpolate_weights));
}

}  // namespace
}  // namespace mmkd
