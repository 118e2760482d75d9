// ball_query on the CPU: the points in ranges that double, as the first hits are asked for. Most
// balls of a dense cloud are full after a few points; those that hit fewer search the trees of the
// ranges to come.
#include "../kernels/ball_query.h"
#include "tree_search.h"

namespace mmkd {
namespace {

constexpr int64_t kRun = 256;           // points tested before their hits are looked at
constexpr int64_t kFirst = 2 * kRun;    // points of the first range, which is always scanned
constexpr int64_t kScan = 2 * kRun;     // points that are scanned in the time of a search
constexpr int64_t kTreeQueries = 1024;  // so many scans of all points take longer than the trees

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

// What a tree is searched for: the least indices inside the shell.
template <class T>
struct InShell {
  using Item = int32_t;
  const T* center;
  const Shell<T>& shell;

  static Item nobody() { return std::numeric_limits<int32_t>::max(); }
  Item of(T square, int32_t index) const { return shell.holds(square) ? index : nobody(); }
  Item least(T near, const Four<T>& four, int i) const {
    const bool some = near == 0 || (near < shell.max_square &&
                                    (!(shell.min_square > 0) ||
                                     four.farthest(center, i) >= shell.min_square));
    return some ? four.first[i] : nobody();
  }
  // A shell without an inside, or with NaN, still holds what is at no distance.
  T limit(Item) const { return shell.max_square > 0 ? shell.max_square : 0; }
};

#define FIRST_IN(T, kBytes, VERSION)                                                           \
  VERSION int64_t first_in(const Tree<T>& tree, const T* center, const Shell<T>& shell,        \
                           int32_t* indices, int64_t count) {                                  \
    Lowest<int32_t> found(indices, count, InShell<T>::nobody());                               \
    search<kBytes>(tree, center, InShell<T>{center, shell}, found);                             \
    return found.size;                                                                         \
  }
#define FOR_FLOAT(kBytes, VERSION) FIRST_IN(float, kBytes, VERSION)
#define FOR_DOUBLE(kBytes, VERSION) FIRST_IN(double, kBytes, VERSION)
MMKD_VERSIONS(FOR_FLOAT)
MMKD_VERSIONS(FOR_DOUBLE)

// Points [begin, end), and a tree of them where one pays.
template <class T>
struct Range {
  int64_t begin, end;
  std::optional<Tree<T>> tree;
};

// Balls in one place follow each other, so that what they read of the trees stays in the cache.
template <class T>
void put_in_order(const Tree<T>& tree, const T* centers, std::vector<int64_t>& balls) {
  const std::vector<int64_t> before = balls;
  auto around = uninitialized<T>(3 * before.size());
  for (size_t i = 0; i < before.size(); ++i)
    std::copy_n(centers + before[i] * 3, 3, &around[i * 3]);
  const auto order = tree.order(around.get(), before.size(), tree.depth - 1);
  for (size_t i = 0; i < before.size(); ++i) balls[i] = before[order[i]];
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

  std::vector<int64_t> found(queries, 0);
  const auto scan = [&](int64_t q, int64_t begin, int64_t end) {
    int32_t hits[kRun];
    int32_t* mine = out + q * samples;
    for (int64_t p = begin; p < end && found[q] < samples; p += kRun) {
      if (!find_hits(x + p, y + p, z + p, centers + q * 3, shell.min_square, shell.max_square,
                     hits))
        continue;
      for (int64_t k = 0; k < kRun && found[q] < samples; ++k)
        if (hits[k]) mine[found[q]++] = int32_t(p + k);
    }
  };
  // Points to scan until a ball is full, if it goes on as it did in the first `begin`.
  const auto to_scan = [&](int64_t q, int64_t begin) {
    const double need = double(samples - found[q]) * begin / std::max<int64_t>(1, found[q]);
    return found[q] ? std::min(need, double(n)) : double(n);
  };
  const bool small = n < 4 * kFirst || queries < kTreeQueries;
  const int64_t first = small ? n : kFirst;
  for_each(queries, std::max<int64_t>(1, 65536 / (first + 1)),
           [&](int64_t q) { scan(q, 0, first); });
  if (!small) {
    std::vector<int64_t> open;  // balls that are not full
    double work = 0;
    for (int64_t q = 0; q < queries; ++q) {
      if (found[q] == samples) continue;
      open.push_back(q);
      work += to_scan(q, first);
    }
    std::vector<Range<T>> ranges;
    const bool trees = work >= double(kTreeQueries) * n;
    for (int64_t begin = first, end; begin < n; begin = end) {
      end = !trees || begin > n / 4 ? n : 2 * begin;
      ranges.push_back({begin, end, {}});
      if (trees) ranges.back().tree.emplace(points, begin, end);
    }
    if (trees) put_in_order(*ranges.back().tree, centers, open);
    for_each(open.size(), 64, [&](int64_t i) {
      const int64_t q = open[i];
      for (const auto& range : ranges) {
        if (found[q] == samples) return;
        if (!trees || to_scan(q, range.begin) <= kScan)
          scan(q, range.begin, range.end);
        else
          found[q] += first_in(*range.tree, centers + q * 3, shell,
                               out + q * samples + found[q], samples - found[q]);
      }
    });
  }
  for_each(queries, 4096, [&](int64_t q) { fill_up(out + q * samples, found[q], samples); });
}

Tensor ball_query(const Tensor& centers_in, const Tensor& points_in, double min_square,
                  double max_square, int64_t samples) {
  const Tensor centers = contiguous(centers_in), points = contiguous(points_in);
  require(samples > 0 && centers.size(-1) == 3, "ball_query: (B, Q, 3), samples > 0");
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
