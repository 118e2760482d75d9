// knn on the CPU: a tree in three dimensions. In others, and for queries that a tree does not help,
// blocks of points against a few queries at a time, so that both stay in the cache; each query
// keeps the candidates below its k-th distance so far.
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

// Appends the points at most as far as `limit`, in their order; returns how many there are now.
template <int kBytes, class T, class Item>
MMKD_INLINE int64_t append(const T* distances, int64_t count, T limit, int64_t first,
                           Item* items, int64_t size) {
  for (int64_t at = 0; at < count; at += kLanes<T>) {
    if (!any_at_most<kBytes>(distances + at, limit)) continue;
    for (int64_t l = at; l < at + kLanes<T>; ++l) {
      items[size] = Candidate<T>::make(distances[l], first + l);
      size += distances[l] <= limit;
    }
  }
  return size;
}

#define DISTANCES(T, kBytes, VERSION)                                                          \
  VERSION void distances(const T* const (&query)[kRows], const T* points, int64_t channels,    \
                         int64_t blocks, T* out, int64_t stride) {                             \
    distances_of<kBytes>(query, points, channels, blocks, out, stride);                        \
  }                                                                                            \
  VERSION int64_t append_close(const T* distances, int64_t count, T limit, int64_t first,      \
                               Candidate<T>::Item* items, int64_t size) {                      \
    return append<kBytes>(distances, count, limit, first, items, size);                        \
  }
#define BOTH(kBytes, VERSION) DISTANCES(float, kBytes, VERSION) DISTANCES(double, kBytes, VERSION)
MMKD_VERSIONS(BOTH)

// The nearest so far of each of a group of queries.
template <class T>
class Nearest {
 public:
  using Item = typename Candidate<T>::Item;

  // `block`: most points that are added at once.
  Nearest(int64_t k, int64_t block)
      : k_(k), full_(2 * k + 64), capacity_(full_ + block + kLanes<T>),
        items_(uninitialized<Item>(kGroup * capacity_)) {}

  void start() {
    std::fill(sizes_, sizes_ + kGroup, 0);
    std::fill(limits_, limits_ + kGroup, std::numeric_limits<T>::max());
  }

  void add(int64_t query, const T* distances, int64_t count, int64_t first) {
    Item* items = items_.get() + query * capacity_;
    sizes_[query] = append_close(distances, count, limits_[query], first, items, sizes_[query]);
    if (sizes_[query] < full_) return;
    std::nth_element(items, items + k_ - 1, items + sizes_[query]);
    sizes_[query] = k_;
    // Points to come have larger indices, so that one as far as the k-th is no neighbour.
    int64_t index;
    Candidate<T>::read(items[k_ - 1], index, limits_[query]);
    limits_[query] = std::nextafter(limits_[query], T(-1));
  }

  void write(int64_t query, int64_t* indices, T* distances) {
    Item* items = items_.get() + query * capacity_;
    const int64_t count = std::min(k_, sizes_[query]);
    std::partial_sort(items, items + count, items + sizes_[query]);
    for (int64_t j = 0; j < count; ++j) Candidate<T>::read(items[j], indices[j], distances[j]);
  }

 private:
  int64_t k_, full_, capacity_;
  std::unique_ptr<Item[]> items_;
  int64_t sizes_[kGroup];
  T limits_[kGroup];
};

// The neighbours of some of the queries, through all distances.
template <class T>
void compare_all(const T* query, const std::vector<int64_t>& rows, const T* points, int64_t n,
                 int64_t channels, int64_t k, int64_t* indices, T* squares) {
  constexpr int lanes = kLanes<T>;
  const int64_t queries = rows.size(), blocks = blocks_of<T>(n);
  auto stored = uninitialized<T>(blocks * lanes * channels + 1);
  into_blocks(points, n, channels, stored.get());
  const int64_t fit = kCache / (64 * std::max<int64_t>(1, channels));
  const int64_t step = std::min<int64_t>(1024 / lanes, std::max<int64_t>(8, fit));
  for_each((queries + kGroup - 1) / kGroup, 1, [&](int64_t group) {
    const int64_t begin = group * kGroup, end = std::min(queries, begin + kGroup);
    Nearest<T> nearest(std::min(k, n), step * lanes);
    nearest.start();
    auto tile = uninitialized<T>(kRows * step * lanes);
    for (int64_t b = 0; b < blocks; b += step) {
      const int64_t here = std::min(step, blocks - b);
      for (int64_t q = begin; q < end; q += kRows) {
        const T* some[kRows];
        for (int r = 0; r < kRows; ++r) some[r] = query + rows[std::min(q + r, end - 1)] * channels;
        distances(some, stored.get() + b * lanes * channels, channels, here, tile.get(),
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
      nearest.write(q - begin, indices + rows[q] * k, squares + rows[q] * k);
  });
}

template <class T>
void search(const T* query, int64_t queries, const T* points, int64_t n, int64_t channels,
            int64_t k, int64_t* indices, T* squares) {
  if (n == 0) return;
  std::vector<int64_t> rows(queries);
  std::iota(rows.begin(), rows.end(), 0);
  if (channels == 3 && queries >= kTreeQueries && n >= kTreePoints && k <= kTreeNeighbours)
    search_tree(query, rows, points, n, k, indices, squares);
  if (!rows.empty()) compare_all(query, rows, points, n, channels, k, indices, squares);
}

std::tuple<Tensor, Tensor> knn(const Tensor& query_in, const Tensor& points_in, int64_t k,
                               const std::optional<Tensor>& query_lengths_in,
                               const std::optional<Tensor>& point_lengths_in) {
  const Tensor query = contiguous(query_in), points = contiguous(points_in);
  require(k > 0, "knn: k must be positive");
  Tensor indices, squares;
  dispatch_coordinates(query, points, "knn", [&](auto zero) {
    using T = decltype(zero);
    const int64_t b = query.size(0), q = query.size(1), c = query.size(2), n = points.size(1);
    const Lengths query_lengths(query_lengths_in, b), point_lengths(point_lengths_in, b);
    indices = new_output(query, {b, q, k}, ScalarType::Long);
    squares = new_output(query, {b, q, k}, query.scalar_type());
    int64_t* index = mutable_data<int64_t>(indices);
    T* square = mutable_data<T>(squares);
    std::fill(index, index + indices.numel(), -1);
    std::fill(square, square + squares.numel(), std::numeric_limits<T>::infinity());
    for (int64_t s = 0; s < b; ++s)
      search(data<T>(query) + s * q * c, clamped(query_lengths.data(), s, q),
             data<T>(points) + s * n * c, clamped(point_lengths.data(), s, n), c, k,
             index + s * q * k, square + s * q * k);
  });
  return {indices, squares};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) { m.impl("knn", TORCH_BOX(&knn)); }

}  // namespace
}  // namespace mmkd
