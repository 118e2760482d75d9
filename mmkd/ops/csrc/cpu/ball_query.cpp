// ball_query on the CPU: the points in ranges that double, as the first hits are asked for. Most
// balls of a dense cloud are full after a few points; those that hit fewer search the trees of the
// ranges to come.
#include "../kernels/ball_query.h"
#include "tree_search.h"

namespace mmkd {
namespace {

constexpr int64_t kRun = 64;            // points scanned before their hits are looked at
constexpr int64_t kFirst = 512;         // points of the first range, which is always scanned
constexpr int64_t kScan = 2048;         // points that are scanned in the time of a search
constexpr int64_t kVisits = 32;         // nodes, at least, before a ball is scanned after all
constexpr int64_t kTreeQueries = 1024;  // so many scans of all points take longer than the trees

// What a tree is searched for: the least indices inside the shell.
template <class T>
struct InShell {
  using Item = int32_t;
  const Shell<T>& shell;
  T most;

  // A shell without an inside, or with NaN, still holds what is at no distance.
  explicit InShell(const Shell<T>& shell)
      : shell(shell), most(shell.max_square > 0 ? shell.max_square : 0) {}

  static Item nobody() { return std::numeric_limits<int32_t>::max(); }
  Item of(T square, int32_t index) const { return shell.holds(square) ? index : nobody(); }
  Item least(T near, int32_t first) const { return near <= most ? first : nobody(); }
  T limit(Item) const { return most; }
};

// Appends the first points of [begin, end) that are in the shell; returns how many.
template <int kBytes, class T>
MMKD_INLINE int64_t scan(const T* blocks, int64_t begin, int64_t end, const T* center,
                         const Shell<T>& shell, int32_t* out, int64_t room) {
  T squares[kRun];
  int32_t places[kRun + 1];
  int64_t count = 0;
  for (; begin < end && count < room; begin += kRun) {
    const int close = scan_blocks<kBytes>(center, blocks + begin * 3,
                                          blocks_of<T>(std::min(kRun, end - begin)),
                                          InShell<T>(shell).most, squares, places);
    for (int i = 0; i < close && count < room; ++i)
      if (shell.holds(squares[places[i]])) out[count++] = int32_t(begin + places[i]);
  }
  return count;
}

// The same of the points of a tree; -1 if it takes more than `visits` nodes.
template <int kBytes, class T>
MMKD_INLINE int64_t search(const Tree<T>& tree, const T* center, const Shell<T>& shell,
                           int64_t& visits, int32_t* out, int64_t room) {
  Lowest<int32_t> found(out, room, InShell<T>::nobody());
  return search<kBytes>(tree, center, InShell<T>(shell), visits, found) ? found.size : -1;
}

#define FIRST(T, kBytes, VERSION)                                                              \
  VERSION int64_t first_in(const T* blocks, int64_t begin, int64_t end, const T* center,       \
                           const Shell<T>& shell, int32_t* out, int64_t room) {                \
    return scan<kBytes>(blocks, begin, end, center, shell, out, room);                         \
  }                                                                                            \
  VERSION int64_t first_in(const Tree<T>& tree, const T* center, const Shell<T>& shell,        \
                           int64_t& visits, int32_t* out, int64_t room) {                      \
    return search<kBytes>(tree, center, shell, visits, out, room);                             \
  }
#define BOTH(kBytes, VERSION) FIRST(float, kBytes, VERSION) FIRST(double, kBytes, VERSION)
MMKD_VERSIONS(BOTH)

template <class T>
void query_sample(const T* centers, int64_t queries, const T* points, int64_t n,
                  const Shell<T>& shell, int64_t samples, int32_t* out) {
  auto blocks = uninitialized<T>(3 * kLanes<T> * blocks_of<T>(n) + 1);
  into_blocks(points, n, 3, blocks.get());
  std::vector<int64_t> found(queries, 0);
  const auto scan = [&](int64_t q, int64_t begin, int64_t end) {
    found[q] += first_in(blocks.get(), begin, end, centers + q * 3, shell,
                         out + q * samples + found[q], samples - found[q]);
  };
  // Points to scan until a ball is full, if it goes on as it did in the first `begin`.
  const auto to_scan = [&](int64_t q, int64_t begin) {
    const double need = double(samples - found[q]) * begin / std::max<int64_t>(1, found[q]);
    return found[q] ? std::min(need, double(n)) : double(n);
  };
  // Nothing more to find for a ball: it counts as full.
  const auto finish = [&](int64_t q) {
    fill_up(out + q * samples, found[q], samples);
    found[q] = samples;
  };
  const int64_t first = n < 4 * kFirst || queries < kTreeQueries ? n : kFirst;
  for_each(queries, std::max<int64_t>(1, 65536 / (first + 1)), [&](int64_t q) {
    scan(q, 0, first);
    if (first < n && to_scan(q, first) > kScan) return;
    scan(q, first, n);
    finish(q);
  });
  std::vector<int64_t> open;
  for (int64_t q = 0; q < queries; ++q)
    if (found[q] < samples) open.push_back(q);
  std::vector<Tree<T>> trees;
  if (int64_t(open.size()) >= kTreeQueries) {
    for (int64_t begin = first, end; begin < n; begin = end) {
      end = begin > n / 4 ? n : 2 * begin;
      trees.emplace_back(points, begin, end);
    }
    trees.back().put_in_order(centers, open);
  }
  for_each(open.size(), 64, [&](int64_t i) {
    const int64_t q = open[i];
    if (trees.empty()) scan(q, first, n);
    int64_t visits = kVisits + n / (16 * kLeaf);
    for (const auto& tree : trees) {
      if (found[q] == samples) return;
      double need = to_scan(q, tree.begin);
      if (found[q] == 0) {  // what was far away so far may be near from here on
        scan(q, tree.begin, tree.begin + kRun);
        need = to_scan(q, kRun);
        found[q] = 0;
      }
      const int64_t more =
          visits > 0 && need > kScan
              ? first_in(tree, centers + q * 3, shell, visits, out + q * samples + found[q],
                         samples - found[q])
              : -1;
      found[q] += std::max<int64_t>(more, 0);
      if (more < 0) scan(q, tree.begin, tree.end);
    }
    finish(q);
  });
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
