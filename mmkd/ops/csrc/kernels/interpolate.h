// Weighted sums of rows, one output element each, and what their inputs must look like.
#pragma once

#include <type_traits>

#include "../common.h"

namespace mmkd {

template <class T>
constexpr ScalarType kAccumulatorType =
    std::is_same_v<acc_t<T>, double> ? ScalarType::Double : ScalarType::Float;

// The Python side never sends what these refuse; a caller of torch.ops.mmkd.* may.
template <class T>
void check_interpolation(const char* op, const Tensor& indices, const Tensor& weights) {
  STD_TORCH_CHECK(indices.dim() == 2 && weights.dim() == 2 &&
                      indices.size(0) == weights.size(0) && indices.size(1) == weights.size(1),
                  op, ": indices and weights must both be (N, K)");
  STD_TORCH_CHECK(weights.scalar_type() == kAccumulatorType<T>, op,
                  ": weights must have the accumulator's dtype");
}

template <class T>
void check_interpolation_index(const char* op, const Tensor& grad, const Tensor& weights,
                               const Tensor& order, const Tensor& starts) {
  STD_TORCH_CHECK(grad.size(0) == weights.size(0) &&
                      order.numel() == grad.size(0) * weights.size(1) && starts.numel() > 0,
                  op, ": grad (N, C), weights (N, K), order (N * K,) and starts (M + 1,)");
  STD_TORCH_CHECK(weights.scalar_type() == kAccumulatorType<T> &&
                      order.scalar_type() == ScalarType::Long &&
                      starts.scalar_type() == ScalarType::Long,
                  op, ": weights must have the accumulator's dtype, order and starts int64");
}

inline void check_interpolation_grad(const char* op, const Tensor& grad, const Tensor& features,
                                     const Tensor& indices) {
  STD_TORCH_CHECK(grad.size(0) == indices.size(0) && grad.size(1) == features.size(1) &&
                      grad.scalar_type() == features.scalar_type(),
                  op, ": grad (N, C), features (M, C) of one dtype, and indices (N, K)");
}

// i = n * channels + c.
template <class T, class Index>
struct Interpolate {
  const T* features;
  const Index* indices;
  const acc_t<T>* weights;
  T* out;
  int64_t rows, channels, neighbours;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t n = i / channels, c = i % channels;
    acc_t<T> sum = 0;
    for (int64_t e = n * neighbours; e < (n + 1) * neighbours; ++e) {
      const int64_t row = indices[e];
      if (row >= 0 && row < rows) sum += weights[e] * acc_t<T>(features[row * channels + c]);
    }
    out[i] = T(sum);
  }
};

// i = m * channels + c; entry e of the sorted index used row m with weight e for output e / K.
template <class T>
struct InterpolateFeatures {
  const T* grad;
  const acc_t<T>* weights;
  const int64_t *order, *starts;
  T* out;
  int64_t outputs, channels, neighbours;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t m = i / channels, c = i % channels, entries = outputs * neighbours;
    acc_t<T> sum = 0;
    const int64_t end = starts[m + 1] < entries ? starts[m + 1] : entries;
    for (int64_t j = starts[m] < 0 ? 0 : starts[m]; j < end; ++j) {
      const int64_t e = order[j];
      if (e < 0 || e >= entries) continue;
      sum += weights[e] * acc_t<T>(grad[e / neighbours * channels + c]);
    }
    out[i] = T(sum);
  }
};

// i = n * neighbours + k.
template <class T, class Index>
struct InterpolateWeights {
  const T *grad, *features;
  const Index* indices;
  acc_t<T>* out;
  int64_t rows, channels, neighbours;

  MMKD_HD void operator()(int64_t i) const {
    // Lanes that do not depend on each other, so that a CPU can run them side by side.
    constexpr int kLanes = 8;
    acc_t<T> lane[kLanes] = {}, sum = 0;
    const int64_t row = indices[i];
    if (row >= 0 && row < rows) {
      const T *a = grad + i / neighbours * channels, *b = features + row * channels;
      int64_t c = 0;
      for (; c + kLanes <= channels; c += kLanes)
        for (int l = 0; l < kLanes; ++l) lane[l] += acc_t<T>(a[c + l]) * acc_t<T>(b[c + l]);
      for (; c < channels; ++c) sum += acc_t<T>(a[c]) * acc_t<T>(b[c]);
      for (int l = 0; l < kLanes; ++l) sum += lane[l];
    }
    out[i] = sum;
  }
};

}  // namespace mmkd
