// Interpolation: weighted sums of a few rows each, and the gradients.
#pragma once

#include "weighted_rows.h"

namespace mmkd {

// Output n is a segment with K terms, n * K and the following.
template <class A, class Index>
struct NeighbourTerms {
  static constexpr bool kPlain = false;
  static constexpr int kFetch = 0;
  const Index* indices;
  const A* weights;  // or nullptr, for dots alone
  int64_t count, neighbours, rows, places;

  MMKD_HD int64_t begin(int64_t n) const { return n * neighbours; }
  MMKD_HD int64_t end(int64_t n) const { return (n + 1) * neighbours; }
  MMKD_HD int64_t find(int64_t place) const { return place / neighbours; }
  MMKD_HD int64_t entry(int64_t, int64_t place) const { return place; }
  MMKD_HD int64_t row(int64_t e) const {
    const int64_t r = indices[e];
    return r >= 0 && r < rows ? r : -1;
  }
  MMKD_HD A weight(int64_t e) const { return weights ? weights[e] : A(0); }
  MMKD_HD int64_t segment(int64_t e) const { return e / neighbours; }
};

// What each row of the features was used for: entry e of the sorted index is output e / K.
template <class A>
struct UseTerms : Intervals<int64_t> {
  static constexpr bool kPlain = false;
  static constexpr int kFetch = 0;
  const int64_t* order;
  const A* weights;
  int64_t neighbours;

  MMKD_HD int64_t entry(int64_t, int64_t place) const {
    const int64_t e = order[place];
    return e >= 0 && e < places ? e : -1;
  }
  MMKD_HD int64_t row(int64_t e) const { return e / neighbours; }
  MMKD_HD A weight(int64_t e) const { return weights[e]; }
};

namespace {

// The Python side never sends what is refused here; a caller of torch.ops.mmkd.* may.
Tensor interpolate(const Tensor& features_in, const Tensor& indices_in,
                          const Tensor& weights_in) {
  const Device device(features_in);
  const Tensor features = contiguous(features_in), indices = contiguous(indices_in),
               weights = contiguous(weights_in);
  require(indices.dim() == 2 && weights.dim() == 2 && features.dim() == 2 &&
              indices.size(0) == weights.size(0) && indices.size(1) == weights.size(1),
          "interpolate: features (M, C), indices and weights both (N, K)");
  Tensor out = new_output(features, {indices.size(0), features.size(1)}, features.scalar_type());
  dispatch_floating(features.scalar_type(), "interpolate", [&](auto zero) {
    using T = decltype(zero);
    require(weights.scalar_type() == kAccumulatorType<T>,
            "interpolate: weights must have the accumulator's dtype");
    dispatch_index(indices.scalar_type(), "interpolate", [&](auto index) {
      const NeighbourTerms<acc_t<T>, decltype(index)> terms{
          data<decltype(index)>(indices), data<acc_t<T>>(weights), indices.size(0),
          indices.size(1), features.size(0), indices.numel()};
      weighted_rows<T>(device, terms, features, {out});
    });
  });
  return out;
}

Tensor interpolate_features(const Tensor& grad_in, const Tensor& weights_in,
                                   const Tensor& order_in, const Tensor& starts_in) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), weights = contiguous(weights_in),
               order = contiguous(order_in), starts = contiguous(starts_in);
  require(grad.dim() == 2 && weights.dim() == 2 && grad.size(0) == weights.size(0) &&
              order.numel() == weights.numel() &&
              order.scalar_type() == ScalarType::Long &&
              starts.scalar_type() == ScalarType::Long,
          "interpolate_features: grad (N, C), weights (N, K), order (N * K,) and starts "
          "(M + 1,), these two int64");
  const auto rows = make_intervals<int64_t>(starts, order.numel());
  Tensor out = new_output(grad, {rows.count, grad.size(1)}, grad.scalar_type());
  dispatch_floating(grad.scalar_type(), "interpolate_features", [&](auto zero) {
    using T = decltype(zero);
    require(weights.scalar_type() == kAccumulatorType<T>,
            "interpolate_features: weights must have the accumulator's dtype");
    weighted_rows<T>(device,
                     UseTerms<acc_t<T>>{rows, data<int64_t>(order), data<acc_t<T>>(weights),
                                        weights.size(1)},
                     grad, {out});
  });
  return out;
}

Tensor interpolate_weights(const Tensor& grad_in, const Tensor& features_in,
                                  const Tensor& indices_in) {
  const Device device(grad_in);
  const Tensor grad = contiguous(grad_in), features = contiguous(features_in),
               indices = contiguous(indices_in);
  require(grad.dim() == 2 && features.dim() == 2 && indices.dim() == 2 &&
              grad.size(0) == indices.size(0) && grad.size(1) == features.size(1) &&
              grad.scalar_type() == features.scalar_type(),
          "interpolate_weights: grad (N, C), features (M, C) of one dtype, and indices "
          "(N, K)");
  Tensor out;
  dispatch_floating(features.scalar_type(), "interpolate_weights", [&](auto zero) {
    using T = decltype(zero);
    out = new_zeros(features, {indices.size(0), indices.size(1)}, kAccumulatorType<T>);
    dispatch_index(indices.scalar_type(), "interpolate_weights", [&](auto index) {
      const NeighbourTerms<acc_t<T>, decltype(index)> terms{
          data<decltype(index)>(indices), nullptr, indices.size(0), indices.size(1),
          features.size(0), indices.numel()};
      weighted_rows<T, acc_t<T>>(device, terms, features, {std::nullopt, false, grad, out});
    });
  });
  return out;
}

}  // namespace
}  // namespace mmkd
