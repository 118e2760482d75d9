// ball_query on the CPU: a run of points against one center at a time.
#include "../kernels/ball_query.h"
#include "sort.h"
#include "vectors.h"

namespace mmkd {
namespace {

constexpr int64_t kRun = 256;  // points tested before their hits are looked at

// hits[p] = whether point p of a run is in the shell; returns how many are.
template <class T>
MMKD_INLINE int hits_of(const T* x, const T* y, const T* z, const T* c, T low, T high,
                        int32_t* hits) {
  int count = 0;
  for (int64_t p = 0; p < kRun; ++p) {
    const T dx = c[0] - x[p], dy = c[1] - y[p], dz = c[2] - z[p];
    const T square = dx * dx + dy * dy + dz * dz;
    hits[p] = (square == 0) | ((square >= low) & (square < high));
    count += hits[p];
  }
  return count;
}

MMKD_CLONES int find_hits(const float* x, const float* y, const float* z, const float* c,
                          float low, float high, int32_t* hits) {
  return hits_of(x, y, z, c, low, high, hits);
}
MMKD_CLONES int find_hits(const double* x, const double* y, const double* z, const double* c,
                          double low, double high, int32_t* hits) {
  return hits_of(x, y, z, c, low, high, hits);
}

template <class T>
void query_sample(const T* centers, int64_t queries, const T* points, int64_t n,
                  const Shell<T>& shell, int64_t samples, int32_t* out) {
  // x of all points, then y, then z, filled up with NaN, which is in no shell.
  const int64_t padded = (n + kRun - 1) / kRun * kRun;
  auto axes = uninitialized<T>(3 * padded + 1);
  for_each(padded, 16384, [&](int64_t p) {
    for (int a = 0; a < 3; ++a)
      axes[a * padded + p] = p < n ? points[p * 3 + a] : std::numeric_limits<T>::quiet_NaN();
  });
  const T *x = axes.get(), *y = x + padded, *z = y + padded;
  for_each(queries, std::max<int64_t>(1, 65536 / (n + 1)), [&](int64_t q) {
    int32_t hits[kRun];
    int32_t* mine = out + q * samples;
    int64_t found = 0;
    for (int64_t p = 0; p < n && found < samples; p += kRun) {
      if (!find_hits(x + p, y + p, z + p, centers + q * 3, shell.min_square, shell.max_square,
                     hits))
        continue;
      for (int64_t k = 0; k < kRun && found < samples; ++k)
        if (hits[k]) mine[found++] = int32_t(p + k);
    }
    fill_up(mine, found, samples);
  });
}

Tensor ball_query(const Tensor& centers_in, const Tensor& points_in, double min_square,
                  double max_square, int64_t samples) {
  const Tensor centers = contiguous(centers_in), points = contiguous(points_in);
  STD_TORCH_CHECK(samples > 0 && centers.size(-1) == 3, "ball_query: (B, Q, 3), samples > 0");
  const int64_t b = centers.size(0), q = centers.size(1), n = points.size(1);
  Tensor out = new_output(centers, {b, q, samples}, ScalarType::Int);
  dispatch_coordinates(centers, points, "ball_query", [&](auto zero) {
    using T = decltype(zero);
    for (int64_t s = 0; s < b; ++s)
      query_sample<T>(data<T>(centers) + s * q * 3, q, data<T>(points) + s * n * 3, n,
                      {T(min_square), T(max_square)}, samples,
                      mutable_data<int32_t>(out) + s * q * samples);
  });
  return out;
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) { m.impl("ball_query", TORCH_BOX(&ball_query)); }

}  // namespace
}  // namespace mmkd
