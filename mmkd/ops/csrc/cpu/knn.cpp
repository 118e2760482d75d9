// knn on the CPU: a tree in three dimensions. In others blocks of points against a few queries at
// a time, so that both stay in the cache; each query keeps the candidates below its k-th distance
// so far.
#include <algorithm>
#include <utility>

#include "knn_tree.h"

namespace mmkd {
namespace {

constexpr int kRows = 4;        // queries whose distances are computed together
constexpr int kGroup = 64;      // queries that share some points in the cache
constexpr int kCache = 131072;  // bytes of these points

// out[r][p] = sum over channels of (query r - point p)^2, for `blocks` blocks of kLanes points;
// a block holds kLanes values of channel 0, then of channel 1, ...
template <int kBytes, class T>
MMKD_INLINE void distances_of(const T* const (&query)[kRows], const T* points,
                              int64_t channels, int64_t blocks, T* out, int64_t stride) {
  using P = Pack<T, kBytes>;
  constexpr int lanes = kLanes<T>;
  constexpr int vectors = 2;  // of each query: 8 sums, which stay in registers
  for (int64_t b = 0; b < blocks; ++b, points += channels * lanes)
    for (int part = 0; part < lanes; part += vectors * P::size) {
      typename P::type sum[kRows][vectors] = {};
      for (int64_t c = 0; c < channels; ++c)
        for (int v = 0; v < vectors; ++v) {
          const typename P::type point = P::at(points + c * lanes + part + v * P::size);
          for (int r = 0; r < kRows; ++r) {
            const typename P::type difference = query[r][c] - point;
            sum[r][v] += difference * difference;
          }
        }
      for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < vectors; ++v)
          P::at(out + r * stride + b * lanes + part + v * P::size) = sum[r][v];
    }
}

// Whether any value of a block is below the limit; few blocks have one.
template <int kBytes, class T>
MMKD_INLINE bool any_below(const T* values, T limit) {
  using P = Pack<T, kBytes>;
  using Bits = typename Pack<long long, kBytes>::type;
  Bits below = {};
  for (int at = 0; at < kLanes<T>; at += P::size) below |= (Bits)(P::at(values + at) < limit);
  long long any = 0;
  for (int l = 0; l < kBytes / 8; ++l) any |= below[l];
  return any != 0;
}

// Appends the points closer than `limit`, in their order; returns how many there are now.
template <int kBytes, class C, class Item, class T>
MMKD_INLINE int64_t append(const T* distances, int64_t count, T limit, int64_t first,
                           Item* items, int64_t size) {
  constexpr int lanes = kLanes<T>;
  for (int64_t at = 0; at < count; at += lanes) {
    if (!any_below<kBytes>(distances + at, limit)) continue;
    for (int l = 0; l < lanes; ++l) {
      items[size] = C::make(distances[at + l], first + at + l);
      size += distances[at + l] < limit;
    }
  }
  return size;
}

using PairItem = std::pair<double, int64_t>;

#define DISTANCES(T, Candidate, Item, kBytes, VERSION)                                         \
  VERSION void distances(const T* const (&query)[kRows], const T* points, int64_t channels,    \
                         int64_t blocks, T* out, int64_t stride) {                             \
    distances_of<kBytes>(query, points, channels, blocks, out, stride);                        \
  }                                                                                            \
  VERSION int64_t append_below(const T* distances, int64_t count, T limit, int64_t first,      \
                               Item* items, int64_t size) {                                    \
    return append<kBytes, Candidate>(distances, count, limit, first, items, size);             \
  }
#define FOR_FLOAT(kBytes, VERSION) DISTANCES(float, PackedCandidate, int64_t, kBytes, VERSION)
#define FOR_DOUBLE(kBytes, VERSION) DISTANCES(double, PairCandidate, PairItem, kBytes, VERSION)
MMKD_VERSIONS(FOR_FLOAT)
MMKD_VERSIONS(FOR_DOUBLE)

// The points of one sample in blocks of kLanes; the last is filled up with NaN, which is near
// nothing.
template <class T>
void into_blocks(const T* points, int64_t n, int64_t channels, T* blocks) {
  constexpr int lanes = kLanes<T>;
  for_each((n + lanes - 1) / lanes, std::max<int64_t>(1, 16384 / (channels * lanes + 1)),
           [&](int64_t b) {
    T* block = blocks + b * channels * lanes;
    for (int64_t l = 0; l < lanes; ++l) {
      const int64_t p = b * lanes + l;
      for (int64_t c = 0; c < channels; ++c)
        block[c * lanes + l] = p < n ? points[p * channels + c]
                                     : std::numeric_limits<T>::quiet_NaN();
    }
  });
}

// The nearest so far of each of a group of queries.
template <class C>
class Nearest {
 public:
  using T = typename C::Distance;
  using Item = decltype(C::make(T(0), 0));

  // `block`: most points that are added at once.
  Nearest(int64_t k, int64_t block)
      : k_(k), full_(2 * k + 64), capacity_(full_ + block + kLanes<T>),
        items_(uninitialized<Item>(kGroup * capacity_)) {}

  void start() {
    std::fill(sizes_, sizes_ + kGroup, 0);
    std::fill(limits_, limits_ + kGroup, std::numeric_limits<T>::infinity());
  }

  void add(int64_t query, const T* distances, int64_t count, int64_t first) {
    Item* items = items_.get() + query * capacity_;
    sizes_[query] = append_below(distances, count, limits_[query], first, items, sizes_[query]);
    if (sizes_[query] < full_) return;
    std::nth_element(items, items + k_ - 1, items + sizes_[query]);
    sizes_[query] = k_;
    // Points to come have larger indices, so that one as far as the k-th is no neighbour.
    int64_t index;
    C::read(items[k_ - 1], index, limits_[query]);
  }

  void write(int64_t query, int64_t* indices, T* distances) {
    Item* items = items_.get() + query * capacity_;
    const int64_t count = std::min(k_, sizes_[query]);
    std::partial_sort(items, items + count, items + sizes_[query]);
    for (int64_t j = 0; j < count; ++j) C::read(items[j], indices[j], distances[j]);
  }

 private:
  int64_t k_, full_, capacity_;
  std::unique_ptr<Item[]> items_;
  int64_t sizes_[kGroup];
  T limits_[kGroup];
};

template <class C, class T>
void search(const T* query, int64_t queries, const T* points, int64_t n, int64_t channels,
            int64_t k, int64_t* indices, T* squares) {
  constexpr int lanes = kLanes<T>;
  const int64_t blocks = (n + lanes - 1) / lanes, kept = std::min(k, n);
  if (kept == 0 || queries == 0) return;
  if (channels == 3 && queries >= kTreeQueries && n >= kTreePoints && k <= kTreeNeighbours)
    return search_tree(query, queries, points, n, k, indices, squares);
  auto stored = uninitialized<T>(blocks * lanes * channels + 1);
  into_blocks(points, n, channels, stored.get());
  const int64_t fit = kCache / (64 * std::max<int64_t>(1, channels));
  const int64_t step = std::min<int64_t>(1024 / lanes, std::max<int64_t>(8, fit));
  for_each((queries + kGroup - 1) / kGroup, 1, [&](int64_t group) {
    const int64_t begin = group * kGroup, end = std::min(queries, begin + kGroup);
    Nearest<C> nearest(kept, step * lanes);
    nearest.start();
    auto tile = uninitialized<T>(kRows * step * lanes);
    for (int64_t b = 0; b < blocks; b += step) {
      const int64_t here = std::min(step, blocks - b);
      for (int64_t q = begin; q < end; q += kRows) {
        const T* rows[kRows];
        for (int r = 0; r < kRows; ++r) rows[r] = query + std::min(q + r, end - 1) * channels;
        distances(rows, stored.get() + b * lanes * channels, channels, here, tile.get(),
                  step * lanes);
        for (int r = 0; r < kRows && q + r < end; ++r) {
          // Without a channel there is no NaN that would mark the filling.
          const int64_t count = std::min(here * lanes, n - b * lanes);
          T* row = tile.get() + r * step * lanes;
          std::fill(row + count, row + here * lanes, std::numeric_limits<T>::infinity());
          nearest.add(q + r - begin, row, count, b * lanes);
        }
      }
    }
    for (int64_t q = begin; q < end; ++q)
      nearest.write(q - begin, indices + q * k, squares + q * k);
  });
}

std::tuple<Tensor, Tensor> knn(const Tensor& query_in, const Tensor& points_in, int64_t k,
                               const std::optional<Tensor>& query_lengths_in,
                               const std::optional<Tensor>& point_lengths_in) {
  const Tensor query = contiguous(query_in), points = contiguous(points_in);
  require(k > 0, "knn: k must be positive");
  Tensor indices, squares;
  dispatch_coordinates(query, points, "knn", [&](auto zero) {
    using T = decltype(zero);
    using Candidate =
        std::conditional_t<std::is_same_v<T, float>, PackedCandidate, PairCandidate>;
    const int64_t b = query.size(0), q = query.size(1), c = query.size(2), n = points.size(1);
    const Lengths query_lengths(query_lengths_in, b), point_lengths(point_lengths_in, b);
    indices = new_output(query, {b, q, k}, ScalarType::Long);
    squares = new_output(query, {b, q, k}, query.scalar_type());
    int64_t* index = mutable_data<int64_t>(indices);
    T* square = mutable_data<T>(squares);
    std::fill(index, index + indices.numel(), -1);
    std::fill(square, square + squares.numel(), std::numeric_limits<T>::infinity());
    for (int64_t s = 0; s < b; ++s)
      search<Candidate>(data<T>(query) + s * q * c, clamped(query_lengths.data(), s, q),
                        data<T>(points) + s * n * c, clamped(point_lengths.data(), s, n), c, k,
                        index + s * q * k, square + s * q * k);
  });
  return {indices, squares};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) { m.impl("knn", TORCH_BOX(&knn)); }

}  // namespace
}  // namespace mmkd
