// furthest_points and furthest_rows on CUDA: one block of threads per sample.
#include "../kernels/point_sampling.h"
#include "launch.h"

namespace mmkd {
namespace {

// The last two of the three phases: of 512 candidates to 16, then to one.
constexpr int kFinalists = 16;

template <class T, class Distances>
struct FurthestPoints {
  Distances distances;
  T* nearest;  // (B, N) distance to the points taken so far
  int32_t* out;
  int64_t n, count;

  struct Shared {
    T far[kBlockThreads];
    int32_t index[kBlockThreads];
    int64_t taken;
  };

  // Of two candidates the further, of equals the lower index.
  static MMKD_BLOCK void keep_further(Shared& shared, int mine, int other) {
    const T a = shared.far[mine], b = shared.far[other];
    const bool better = b > a || (b == a && shared.index[other] < shared.index[mine]);
    if (!better) return;
    shared.far[mine] = b;
    shared.index[mine] = shared.index[other];
  }

  MMKD_BLOCK void operator()(int64_t sample, Shared& shared) const {
    T* near = nearest + sample * n;
    int32_t* mine = out + sample * count;
    each_thread([&](int t) {
      for (int64_t k = t; k < n; k += kBlockThreads) near[k] = distances.start(sample, k);
      if (t != 0) return;
      shared.taken = 0;
      if (count > 0) mine[0] = n > 0 ? 0 : -1;
    });
    for (int64_t j = 1; j < count; ++j) {
      each_thread([&](int t) {
        T far = T(-1);
        int32_t index = 0;
        for (int64_t k = t; k < n; k += kBlockThreads) {
          const T distance = distances(sample, shared.taken, k);
          T least = near[k];
          if (distance < least) near[k] = least = distance;
          if (least > far) {
            far = least;
            index = int32_t(k);
          }
        }
        shared.far[t] = far;
        shared.index[t] = index;
      });
      each_thread([&](int t) {
        if (t >= kFinalists) return;
        for (int other = t + kFinalists; other < kBlockThreads; other += kFinalists)
          keep_further(shared, t, other);
      });
      each_thread([&](int t) {
        if (t != 0) return;
        for (int other = 1; other < kFinalists; ++other) keep_further(shared, 0, other);
        shared.taken = shared.index[0];
        mine[j] = n > 0 ? shared.index[0] : -1;
      });
    }
  }
};

template <template <class> class Distances>
Tensor sample(const Tensor& in, int64_t last, int64_t count, const char* op) {
  const Device device(in);
  const Tensor input = contiguous(in);
  const int64_t b = input.size(0), n = input.size(1);
  Tensor out = new_empty(input, {b, count}, ScalarType::Int);
  dispatch_sampling(input, last, count, op, [&](auto zero) {
    using T = decltype(zero);
    Tensor nearest = new_empty(input, {b, n}, input.scalar_type());
    for_each_block(device, b,
                   FurthestPoints<T, Distances<T>>{{data<T>(input), n}, mutable_data<T>(nearest),
                                                   mutable_data<int32_t>(out), n, count});
  });
  return out;
}

Tensor furthest_points(const Tensor& points, int64_t count) {
  return sample<PointDistances>(points, 3, count, "furthest_points");
}

Tensor furthest_rows(const Tensor& distances, int64_t count) {
  return sample<MatrixDistances>(distances, distances.size(1), count, "furthest_rows");
}

MMKD_DEVICE_IMPL(m) {
  m.impl("furthest_points", TORCH_BOX(&furthest_points));
  m.impl("furthest_rows", TORCH_BOX(&furthest_rows));
}

}  // namespace
}  // namespace mmkd
