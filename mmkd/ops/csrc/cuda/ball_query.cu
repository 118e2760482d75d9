// ball_query on CUDA: a warp for each center, whose lanes test 32 points at once; the warps of a
// block share the points.
#include "../kernels/ball_query.h"
#include "block.h"

namespace mmkd {
namespace {

constexpr int kTilePoints = 1024;

// Block = sample * groups + group of kBlockWarps centers.
template <class T>
struct BallQuery {
  const T *centers, *points;
  int32_t* out;
  Shell<T> shell;
  int64_t queries, n, samples, groups;

  struct Shared {
    T tile[kTilePoints * 3];
    bool searching[kBlockWarps];
  };

  MMKD_BLOCK void operator()(int64_t block, Shared& shared) const {
    const int64_t sample = block / groups, first = block % groups * kBlockWarps;
    const T* cloud = points + sample * n * 3;
    const auto query = [&](int w) { return sample * queries + first + w; };
    Private<int64_t, kBlockWarps> found;
    Private<int32_t, kBlockWarps> first_hit;
    for (int64_t at = 0; at < n; at += kTilePoints) {
      const int here = int(n - at < kTilePoints ? n - at : kTilePoints);
      each_thread([&](int t) {
        for (int i = t; i < here * 3; i += kBlockThreads) shared.tile[i] = cloud[at * 3 + i];
      });
      Team<1>::each_warp([&](int w) {
        const bool mine = first + w < queries;
        const T* center = centers + (mine ? query(w) : 0) * 3;
        const T cx = center[0], cy = center[1], cz = center[2];
        for (int p = 0; mine && p < here && found[w] < samples; p += kWarp) {
          const uint32_t hits = ballot([&](int lane) {
            const T* point = shared.tile + (p + lane) * 3;
            const T x = cx - point[0], y = cy - point[1], z = cz - point[2];
            return p + lane < here && shell.holds(x * x + y * y + z * z);
          });
          if (!hits) continue;
          if (!found[w]) first_hit[w] = int32_t(at + p) + count_bits((hits & -hits) - 1);
          each_lane([&](int lane) {
            const int64_t place = found[w] + count_bits(hits & ((1u << lane) - 1));
            if ((hits >> lane & 1) && place < samples)
              out[query(w) * samples + place] = int32_t(at + p + lane);
          });
          found[w] += count_bits(hits);
        }
        each_lane([&](int lane) {
          if (lane == 0) shared.searching[w] = mine && found[w] < samples;
        });
      });
      if (!ballot([&](int lane) { return lane < kBlockWarps && shared.searching[lane]; })) break;
    }
    // The places that were not filled repeat the first hit, 0 without any.
    Team<1>::each_warp([&](int w) {
      if (first + w >= queries) return;
      each_lane([&](int lane) {
        for (int64_t place = found[w] + lane; place < samples; place += kWarp)
          out[query(w) * samples + place] = first_hit[w];
      });
    });
  }
};

Tensor ball_query(const Tensor& centers_in, const Tensor& points_in, double min_square,
                  double max_square, int64_t samples) {
  const Device device(centers_in);
  const Tensor centers = contiguous(centers_in), points = contiguous(points_in);
  require(samples > 0 && centers.size(-1) == 3, "ball_query: (B, Q, 3), samples > 0");
  const int64_t b = centers.size(0), q = centers.size(1);
  Tensor out = new_empty(centers, {b, q, samples}, ScalarType::Int);
  dispatch_coordinates(centers, points, "ball_query", [&](auto zero) {
    using T = decltype(zero);
    const int64_t groups = (q + kBlockWarps - 1) / kBlockWarps;
    for_each_block(device, b * groups,
                   BallQuery<T>{data<T>(centers), data<T>(points), mutable_data<int32_t>(out),
                                {T(min_square), T(max_square)}, q, points.size(1), samples,
                                groups});
  });
  return out;
}

MMKD_DEVICE_IMPL(m) { m.impl("ball_query", TORCH_BOX(&ball_query)); }

}  // namespace
}  // namespace mmkd
