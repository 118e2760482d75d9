// ball_query on CUDA: a thread per center; all threads of a block read the same points.
#include "../kernels/ball_query.h"
#include "launch.h"

namespace mmkd {
namespace {

// i = sample of the batch * queries + query.
template <class T>
struct BallQuery {
  const T *centers, *points;
  int32_t* out;
  Shell<T> shell;
  int64_t queries, n, samples;

  MMKD_HD void operator()(int64_t i) const {
    const T *c = centers + i * 3, *p = points + i / queries * n * 3;
    int32_t* mine = out + i * samples;
    int64_t found = 0;
    for (int64_t k = 0; k < n && found < samples; ++k, p += 3) {
      const T x = c[0] - p[0], y = c[1] - p[1], z = c[2] - p[2];
      if (shell.holds(x * x + y * y + z * z)) mine[found++] = int32_t(k);
    }
    fill_up(mine, found, samples);
  }
};

Tensor ball_query(const Tensor& centers_in, const Tensor& points_in, double min_square,
                  double max_square, int64_t samples) {
  const Device device(centers_in);
  const Tensor centers = contiguous(centers_in), points = contiguous(points_in);
  STD_TORCH_CHECK(samples > 0 && centers.size(-1) == 3, "ball_query: (B, Q, 3), samples > 0");
  const int64_t b = centers.size(0), q = centers.size(1);
  Tensor out = new_empty(centers, {b, q, samples}, ScalarType::Int);
  dispatch_coordinates(centers, points, "ball_query", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, b * q,
             BallQuery<T>{data<T>(centers), data<T>(points), mutable_data<int32_t>(out),
                          {T(min_square), T(max_square)}, q, points.size(1), samples});
  });
  return out;
}

MMKD_DEVICE_IMPL(m) { m.impl("ball_query", TORCH_BOX(&ball_query)); }

}  // namespace
}  // namespace mmkd
