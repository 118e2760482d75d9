// furthest_points and furthest_rows on the CPU: vectors of points, one thread per sample.
#include "../kernels/point_sampling.h"
#include "sort.h"
#include "vectors.h"

namespace mmkd {
namespace {

template <class T>
using Whole = std::conditional_t<std::is_same_v<T, float>, int32_t, int64_t>;

// Points as vectors: x, y and z of all points, or one row of a matrix of distances.
template <class T>
struct Axes {
  const T *x, *y, *z;  // y is nullptr for a row
};

template <int kBytes, class T>
MMKD_INLINE void distances_at(const Axes<T>& from, const T* to, int64_t at,
                              typename Pack<T, kBytes>::type* out) {
  using P = Pack<T, kBytes>;
  if (!from.y) {
    *out = P::at(from.x + at);
    return;
  }
  const typename P::type x = P::at(from.x + at) - to[0], y = P::at(from.y + at) - to[1],
                         z = P::at(from.z + at) - to[2];
  *out = x * x + y * y + z * z;
}

// Brings `nearest` (n points, whole vectors) up to date with a point just taken; returns the
// one that is furthest now, the first of equals.
template <int kBytes, class T>
MMKD_INLINE int64_t take(const Axes<T>& from, const T* to, T* nearest, int64_t n) {
  using P = Pack<T, kBytes>;
  using V = typename P::type;
  using W = typename Pack<Whole<T>, kBytes>::type;
  V far = V{} - T(1);
  W index = {}, here;
  for (int l = 0; l < P::size; ++l) here[l] = l;
  for (int64_t at = 0; at < n; at += P::size, here += P::size) {
    V distance;
    distances_at<kBytes>(from, to, at, &distance);
    V& least = P::at(nearest + at);
    least = distance < least ? distance : least;
    index = least > far ? here : index;
    far = least > far ? least : far;
  }
  int best = 0;
  for (int l = 1; l < P::size; ++l)
    if (far[l] > far[best] || (far[l] == far[best] && index[l] < index[best])) best = l;
  return index[best];
}

#define TAKE_NEXT(T, kBytes, VERSION)                                                      \
  VERSION int64_t take_next(const Axes<T>& from, const T* to, T* nearest, int64_t n) {     \
    return take<kBytes>(from, to, nearest, n);                                             \
  }
#define FOR_FLOAT(kBytes, VERSION) TAKE_NEXT(float, kBytes, VERSION)
#define FOR_DOUBLE(kBytes, VERSION) TAKE_NEXT(double, kBytes, VERSION)
MMKD_VERSIONS(FOR_FLOAT)
MMKD_VERSIONS(FOR_DOUBLE)

// Whole vectors that hold n values.
template <class T>
int64_t padded(int64_t n) {
  return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

template <class T>
void sample_points(const PointDistances<T>& from, int64_t sample, T* nearest, int64_t count,
                   int32_t* out) {
  const int64_t n = from.n, size = padded<T>(n);
  const T* points = from.points + sample * n * 3;
  auto axes = uninitialized<T>(3 * size);
  for (int64_t k = 0; k < size; ++k)
    for (int a = 0; a < 3; ++a) axes[a * size + k] = k < n ? points[k * 3 + a] : 0;
  const Axes<T> all{axes.get(), axes.get() + size, axes.get() + 2 * size};
  for (int64_t j = 1; j < count; ++j)
    out[j] = int32_t(take_next(all, points + out[j - 1] * int64_t(3), nearest, size));
}

template <class T>
void sample_points(const MatrixDistances<T>& from, int64_t sample, T* nearest, int64_t count,
                   int32_t* out) {
  const int64_t n = from.n, size = padded<T>(n);
  auto row = uninitialized<T>(size);
  std::fill(row.get() + n, row.get() + size, T(0));
  for (int64_t j = 1; j < count; ++j) {
    const T* taken = from.matrix + (sample * n + out[j - 1]) * n;
    std::copy(taken, taken + n, row.get());
    out[j] = int32_t(take_next(Axes<T>{row.get(), nullptr, nullptr}, taken, nearest, size));
  }
}

template <template <class> class Distances>
Tensor sample(const Tensor& in, int64_t last, int64_t count, const char* op) {
  const Tensor input = contiguous(in);
  const int64_t b = input.size(0), n = input.size(1);
  Tensor out = new_output(input, {b, count}, ScalarType::Int);
  int32_t* chosen = mutable_data<int32_t>(out);
  dispatch_sampling(input, last, count, op, [&](auto zero) {
    using T = decltype(zero);
    const Distances<T> from{data<T>(input), n};
    for_each(b, 1, [&](int64_t s) {
      int32_t* mine = chosen + s * count;
      if (n == 0 || count == 0) {
        std::fill(mine, mine + count, -1);
        return;
      }
      // The filling of the last vector is nearer than anything, so never the furthest.
      auto nearest = uninitialized<T>(padded<T>(n));
      for (int64_t k = 0; k < padded<T>(n); ++k) nearest[k] = k < n ? from.start(s, k) : T(-1);
      mine[0] = 0;
      sample_points(from, s, nearest.get(), count, mine);
    });
  });
  return out;
}

Tensor furthest_points(const Tensor& points, int64_t count) {
  return sample<PointDistances>(points, 3, count, "furthest_points");
}

Tensor furthest_rows(const Tensor& distances, int64_t count) {
  return sample<MatrixDistances>(distances, distances.size(1), count, "furthest_rows");
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("furthest_points", TORCH_BOX(&furthest_points));
  m.impl("furthest_rows", TORCH_BOX(&furthest_rows));
}

}  // namespace
}  // namespace mmkd
