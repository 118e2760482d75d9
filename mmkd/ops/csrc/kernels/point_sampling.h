// Furthest point sampling: where distances come from, and the sampling of a block of threads.
#pragma once

#include "../common.h"

namespace mmkd {

// Squared distances between points (B, N, 3).
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
  MMKD_HD T operator()(int64_t sample, int64_t taken, int64_t k) const {
    const T *a = points + (sample * n + k) * 3, *b = points + (sample * n + taken) * 3;
    const T x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
    return x * x + y * y + z * z;
  }
};

// A matrix of them (B, N, N).
template <class T>
struct MatrixDistances {
  const T* matrix;
  int64_t n;

  MMKD_HD T start(int64_t, int64_t) const { return std::numeric_limits<T>::infinity(); }
  MMKD_HD T operator()(int64_t sample, int64_t taken, int64_t k) const {
    return matrix[(sample * n + taken) * n + k];
  }
};

// f(T{}) for the type of what is sampled, once it is what `op` takes.
template <class F>
void dispatch_sampling(const Tensor& t, int64_t last, int64_t count, const char* op, F&& f) {
  STD_TORCH_CHECK(t.dim() == 3 && t.size(2) == last && count >= 0, op,
                  ": (B, N, 3) or (B, N, N), and a number of points from 0 up");
  STD_TORCH_CHECK(t.size(1) <= std::numeric_limits<int32_t>::max(), op, ": too many points");
  dispatch_wide(t.scalar_type(), op, f);
}

}  // namespace mmkd
