// Furthest point sampling: what distances come from.
#pragma once

#include "../common.h"

namespace mmkd {

// Points (B, N, 3), of which squared distances are taken.
template <class T>
struct PointDistances {
  const T* points;
  int64_t n;

  // Before any point was taken; what is not finite is nearer than anything.
  MMKD_HD T start(int64_t sample, int64_t k) const {
    const T* p = points + (sample * n + k) * 3;
    const T zero = (p[0] - p[0]) + (p[1] - p[1]) + (p[2] - p[2]);  // NaN unless all are finite
    return zero == 0 ? std::numeric_limits<T>::infinity() : T(-1);
  }
};

// A matrix of distances (B, N, N).
template <class T>
struct MatrixDistances {
  const T* matrix;
  int64_t n;

  MMKD_HD T start(int64_t, int64_t) const { return std::numeric_limits<T>::infinity(); }
};

// f(T{}) for the type of what is sampled, once it is what `op` takes.
template <class F>
void dispatch_sampling(const Tensor& t, int64_t last, int64_t count, const char* op, F&& f) {
  require(t.dim() == 3 && t.size(2) == last && count >= 0, op,
          ": (B, N, 3) or (B, N, N), and a number of points from 0 up");
  require(t.size(1) <= std::numeric_limits<int32_t>::max(), op, ": too many points");
  dispatch_wide(t.scalar_type(), op, f);
}

}  // namespace mmkd
