// furthest_points and furthest_rows on CUDA: a block of threads per sample, or a cluster of blocks
// where its points do not fit into the registers of one.
#include "../kernels/point_sampling.h"
#include "block.h"

namespace mmkd {
namespace {

// What a thread keeps of a point, what a step knows of the point just taken, and the distance.
template <class T>
struct FromPoints : PointDistances<T> {
  struct Point {
    T x, y, z;
  };
  using Taken = Point;

  MMKD_HD Point point(int64_t sample, int64_t k) const {
    const T* p = this->points + (sample * this->n + k) * 3;
    return {p[0], p[1], p[2]};
  }
  MMKD_HD Taken taken(int64_t sample, int64_t k) const { return point(sample, k); }
  MMKD_HD T distance(const Taken& from, const Point& to, int64_t) const {
    const T x = to.x - from.x, y = to.y - from.y, z = to.z - from.z;
    return x * x + y * y + z * z;
  }
};

template <class T>
struct FromMatrix : MatrixDistances<T> {
  struct Point {};
  using Taken = const T*;

  MMKD_HD Point point(int64_t, int64_t) const { return {}; }
  MMKD_HD Taken taken(int64_t sample, int64_t k) const {
    return this->matrix + (sample * this->n + k) * this->n;
  }
  MMKD_HD T distance(Taken row, Point, int64_t k) const { return k < this->n ? row[k] : T(0); }
};

// An integer that orders as a number does; -0 and 0 are equal.
MMKD_HD int32_t order_key(float value) {
  value += 0.f;
  int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits < 0 ? bits ^ std::numeric_limits<int32_t>::max() : bits;
}
MMKD_HD int64_t order_key(double value) {
  value += 0.;
  int64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits < 0 ? bits ^ std::numeric_limits<int64_t>::max() : bits;
}

// Thread t has the points t, t + kThreads, ...: kHeld of them in registers, the others (there are
// none where kAllHeld) in memory.
template <template <class> class Distances, class T, int kBlocks, int kHeld, bool kAllHeld>
struct FurthestPoints {
  using Team = mmkd::Team<kBlocks>;
  using Key = decltype(order_key(T()));

  Distances<T> distances;
  T* nearest;  // (B, N): of the points in memory, the distance to those taken so far
  int32_t* out;
  int64_t count;

  struct Shared {
    // Of each warp. A step writes one while the slowest warp may still read the other: so there
    // is one barrier in a step.
    Candidate<Key> furthest[2][Team::kWarps];
  };

  struct Mine {
    typename Distances<T>::Point point[kHeld];
    T near[kHeld];      // distance to the points taken so far; -1 where there is no point
    T far;              // the largest of all
    int32_t in_memory;  // whose that is, if of none in registers
  };

  template <class F>
  MMKD_BLOCK void for_each_in_memory(int t, const F& f) const {
    if constexpr (!kAllHeld)
      for (int64_t k = kHeld * Team::kThreads + t; k < distances.n; k += Team::kThreads) f(k);
  }

  MMKD_BLOCK void start(int64_t sample, int t, Mine& mine, T* near) const {
    const int64_t n = distances.n;
    MMKD_UNROLL
    for (int s = 0; s < kHeld; ++s) {
      const int64_t k = s * Team::kThreads + t;
      if (k < n) mine.point[s] = distances.point(sample, k);
      mine.near[s] = k < n ? distances.start(sample, k) : T(-1);
    }
    for_each_in_memory(t, [&](int64_t k) { near[k] = distances.start(sample, k); });
  }

  MMKD_BLOCK void update(int64_t sample, typename Distances<T>::Taken taken, int t, Mine& mine,
                         T* __restrict__ near) const {
    T far = T(-1);
    mine.in_memory = 0;
    MMKD_UNROLL
    for (int s = 0; s < kHeld; ++s) {
      const T distance = distances.distance(taken, mine.point[s], s * Team::kThreads + t);
      mine.near[s] = std::fmin(mine.near[s], distance);  // a NaN changes nothing
      far = std::fmax(far, mine.near[s]);
    }
    for_each_in_memory(t, [&](int64_t k) {
      const T least =
          std::fmin(near[k], distances.distance(taken, distances.point(sample, k), k));
      near[k] = least;
      if (least > far) {
        far = least;
        mine.in_memory = int32_t(k);
      }
    });
    mine.far = far;
  }

  // The lowest index of a thread's furthest points; the first point where none is left.
  MMKD_BLOCK int32_t index(int t, const Mine& mine) const {
    int32_t index = mine.in_memory;
    MMKD_UNROLL
    for (int s = kHeld - 1; s >= 0; --s)
      if (mine.near[s] == mine.far) index = s * Team::kThreads + t;
    return index;
  }

  MMKD_BLOCK void operator()(int64_t sample, Shared& shared) const {
    Private<Mine, Team::kThreads> all;
    T* near = nearest + sample * distances.n;
    int32_t* chosen = out + sample * count;
    Team::each_thread([&](int t) { start(sample, t, all[t], near); });
    int32_t current = 0;
    Team::once([&] { chosen[0] = current; });
    for (int64_t j = 1; j < count; ++j) {
      Candidate<Key>* of_warps = shared.furthest[j % 2];
      const auto taken = distances.taken(sample, current);
      Team::each_warp([&](int w) {
        const auto thread = [&](int lane) { return w * kWarp + lane; };
        Team::post(of_warps[w], warp_largest<Key>(
            [&](int lane) {
              Mine& mine = all[thread(lane)];
              update(sample, taken, thread(lane), mine, near);
              return order_key(mine.far);
            },
            [&](int lane) { return index(thread(lane), all[thread(lane)]); }));
      });
      Private<Candidate<Key>, kWarp> best;
      each_lane([&](int lane) {
        best[lane] = {std::numeric_limits<Key>::min(), 0};
        for (int w = lane; w < Team::kWarps; w += kWarp) {
          const Candidate<Key> other = of_warps[w];
          const bool lower = other.key == best[lane].key && other.index < best[lane].index;
          if (other.key > best[lane].key || lower) best[lane] = other;
        }
      });
      current = warp_largest<Key>([&](int lane) { return best[lane].key; },
                                  [&](int lane) { return best[lane].index; }).index;
      Team::once([&] { chosen[j] = current; });
    }
  }
};

// Registers for kBytes of distances in each thread.
template <template <class> class Distances, class T, int kBlocks, int kBytes, bool kAllHeld>
bool run(const Device& device, const Tensor& input, const Tensor& nearest, const Tensor& out) {
  return for_each_team(device, input.size(0),
                       FurthestPoints<Distances, T, kBlocks, kBytes / int(sizeof(T)), kAllHeld>{
                           {{data<T>(input), input.size(1)}}, mutable_data<T>(nearest),
                           mutable_data<int32_t>(out), out.size(1)});
}

template <template <class> class Distances>
Tensor sample(const Tensor& in, int64_t last, int64_t count, const char* op) {
  const Device device(in);
  const Tensor input = contiguous(in);
  const int64_t b = input.size(0), n = input.size(1);
  Tensor out = new_empty(input, {b, count}, ScalarType::Int);
  dispatch_sampling(input, last, count, op, [&](auto zero) {
    using T = decltype(zero);
    if (n == 0) torch::stable::fill_(out, -1);
    if (n == 0 || count == 0) return;
    // With the coordinates four times as much, of the 512 bytes that each of 512 threads can have.
    constexpr int few = 16, many = 64, cluster = 8;
    const auto fit = [&](int blocks, int bytes) {
      return n * int64_t(sizeof(T)) <= int64_t(blocks) * kBlockThreads * bytes;
    };
    const Tensor nearest = new_empty(input, {b, n}, input.scalar_type());
    if (fit(1, few)) {
      run<Distances, T, 1, few, true>(device, input, nearest, out);
    } else if (fit(1, many / 2) || !(fit(cluster, few)
                   ? run<Distances, T, cluster, few, true>(device, input, nearest, out)
                   : run<Distances, T, cluster, many, false>(device, input, nearest, out))) {
      run<Distances, T, 1, many, false>(device, input, nearest, out);
    }
  });
  return out;
}

Tensor furthest_points(const Tensor& points, int64_t count) {
  return sample<FromPoints>(points, 3, count, "furthest_points");
}

Tensor furthest_rows(const Tensor& distances, int64_t count) {
  return sample<FromMatrix>(distances, distances.size(1), count, "furthest_rows");
}

MMKD_DEVICE_IMPL(m) {
  m.impl("furthest_points", TORCH_BOX(&furthest_points));
  m.impl("furthest_rows", TORCH_BOX(&furthest_rows));
}

}  // namespace
}  // namespace mmkd
