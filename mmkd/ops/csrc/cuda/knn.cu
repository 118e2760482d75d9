// knn on CUDA: tiles of distances and torch's selection of the smallest; few neighbours in few
// channels (three_nn) need no tile.
#include "few_neighbours.h"

namespace mmkd {
namespace {

// Larger than a GPU's cache: on an H100 tiles that fit into it (16 MiB) took 1.4 times as long,
// for torch's selection is slow on few rows.
constexpr int64_t kTileBytes = 64 << 20;
constexpr int64_t kFewChannels = 8;

// What is selected from: distances and indices packed, or the distances themselves.
MMKD_HD void store(int64_t* out, float distance, int64_t index) {
  *out = distance < std::numeric_limits<float>::infinity() ? pack(distance, index) : kNobody;
}
MMKD_HD void store(double* out, double distance, int64_t) {
  *out = distance < std::numeric_limits<double>::infinity()
             ? distance
             : std::numeric_limits<double>::infinity();
}

// Distances of kTileRows queries of one sample to one point; points are (B, C, N). Row r of the
// tile is query (first_group * kTileRows + r), each sample padded to `groups` full groups.
constexpr int kTileRows = 4;

template <class T, class Stored>
struct DistanceTile {
  Clouds<T> in;
  Stored* tile;  // (groups in the tile * kTileRows, n)
  int64_t first_group, groups;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t group = i / in.n, p = i % in.n;
    const int64_t sample = (first_group + group) / groups,
                  q = (first_group + group) % groups * kTileRows;
    const T* point = in.points + sample * in.channels * in.n + p;
    const T* query[kTileRows];
    T sum[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      const int64_t row = q + r < in.queries ? q + r : in.queries - 1;
      query[r] = in.query + (sample * in.queries + row) * in.channels;
      sum[r] = 0;
    }
    for (int64_t c = 0; c < in.channels; ++c) {
      const T value = point[c * in.n];
      for (int r = 0; r < kTileRows; ++r) {
        const T difference = query[r][c] - value;
        sum[r] += difference * difference;
      }
    }
    const bool there = p < clamped(in.point_lengths, sample, in.n);
    const int64_t valid = clamped(in.query_lengths, sample, in.queries);
    for (int r = 0; r < kTileRows; ++r)
      store(tile + (group * kTileRows + r) * in.n + p,
            there && q + r < valid ? sum[r] : std::numeric_limits<T>::infinity(), p);
  }
};

// i = row of the tile * k + j: neighbour j of that query, from what was selected.
template <class T>
struct WriteNeighbours {
  const int64_t* found;    // packed for float, else the indices
  const T* far;            // nullptr for float
  int64_t *indices;        // (B, Q, k)
  T* distances;
  int64_t width, kept, k, queries, first_group, groups;  // width: of a row of found

  MMKD_HD void operator()(int64_t i) const {
    const int64_t row = i / k, j = i % k, group = first_group + row / kTileRows;
    const int64_t sample = group / groups, q = group % groups * kTileRows + row % kTileRows;
    if (q >= queries) return;
    int64_t index = -1;
    T distance = std::numeric_limits<T>::infinity();
    if (j < kept) read(row * width + j, index, distance);
    indices[(sample * queries + q) * k + j] = index;
    distances[(sample * queries + q) * k + j] = distance;
  }
  MMKD_HD void read(int64_t at, int64_t& index, float& distance) const {
    unpack(found[at], index, distance);
  }
  MMKD_HD void read(int64_t at, int64_t& index, double& distance) const {
    distance = far[at];
    index = distance < std::numeric_limits<double>::infinity() ? found[at] : -1;
  }
};

struct Output {
  Tensor indices, distances;  // (B, Q, k)
  int64_t k;
};

// float: distance and index in one number each, of which the k smallest are the neighbours.
void select(const Device& device, const Clouds<float>& in, const Output& out, int64_t first,
            int64_t count, int64_t groups) {
  const int64_t rows = count * kTileRows, kept = std::min(out.k, in.n);
  const Tensor tile = new_empty(out.indices, {rows, in.n}, ScalarType::Long);
  for_each(device, count * in.n, DistanceTile<float, int64_t>{
      in, mutable_data<int64_t>(tile), first, groups});
  const Tensor found = smallest(tile, kept);
  for_each(device, rows * out.k, WriteNeighbours<float>{
      data<int64_t>(found), nullptr, mutable_data<int64_t>(out.indices),
      mutable_data<float>(out.distances), kept, kept, out.k, in.queries, first, groups});
}

// double: a stable sort of the distances.
void select(const Device& device, const Clouds<double>& in, const Output& out, int64_t first,
            int64_t count, int64_t groups) {
  const int64_t rows = count * kTileRows, kept = std::min(out.k, in.n);
  const Tensor tile = new_empty(out.indices, {rows, in.n}, ScalarType::Double);
  for_each(device, count * in.n, DistanceTile<double, double>{
      in, mutable_data<double>(tile), first, groups});
  const auto [sorted, order] = stable_sort(tile);
  for_each(device, rows * out.k, WriteNeighbours<double>{
      data<int64_t>(order), data<double>(sorted), mutable_data<int64_t>(out.indices),
      mutable_data<double>(out.distances), in.n, kept, out.k, in.queries, first, groups});
}

template <class T, int kChannels>
void search_few(const Device& device, const Clouds<T>& in, const Output& out) {
  // Enough threads for every multiprocessor: with few queries several threads for each.
  constexpr int64_t enough = 1 << 17;
  const int64_t samples = out.indices.size(0);
  int lanes = 1;
  while (lanes < kWarp && samples * in.queries * lanes < enough) lanes *= 2;
  const int64_t together = kBlockThreads / lanes, groups = (in.queries + together - 1) / together;
  for_each_block(device, samples * groups,
                 FewNeighbours<T, kChannels>{in, mutable_data<int64_t>(out.indices),
                                             mutable_data<T>(out.distances), out.k, groups, lanes});
}

template <class T>
void search(const Device& device, Clouds<T> in, const Tensor& points, const Output& out) {
  // More than kFew are written only where there is nothing to find.
  if (in.channels <= 3 && (out.k <= kFew || in.n == 0)) return search_few<T, 3>(device, in, out);
  if (in.n == 0 || (out.k <= kFew && in.channels <= kFewChannels))
    return search_few<T, kFewChannels>(device, in, out);
  // Neighbouring threads have neighbouring points.
  const Tensor by_channel = contiguous(torch::stable::transpose(points, 1, 2));
  in.points = data<T>(by_channel);
  const int64_t groups = (in.queries + kTileRows - 1) / kTileRows;
  const int64_t all = out.indices.size(0) * groups;
  const int64_t step = std::max<int64_t>(1, kTileBytes / (8 * kTileRows * in.n));
  for (int64_t first = 0; first < all; first += step)
    select(device, in, out, first, std::min(step, all - first), groups);
}

std::tuple<Tensor, Tensor> knn(const Tensor& query_in, const Tensor& points_in, int64_t k,
                               const std::optional<Tensor>& query_lengths_in,
                               const std::optional<Tensor>& point_lengths_in) {
  const Device device(query_in);
  const Tensor query = contiguous(query_in), points = contiguous(points_in);
  require(k > 0, "knn: k must be positive");
  const int64_t b = query.size(0), q = query.size(1);
  const Output out{new_empty(query, {b, q, k}, ScalarType::Long),
                   new_empty(query, {b, q, k}, query.scalar_type()), k};
  const Lengths query_lengths(query_lengths_in, b), point_lengths(point_lengths_in, b);
  dispatch_coordinates(query, points, "knn", [&](auto zero) {
    using T = decltype(zero);
    search<T>(device, {data<T>(query), data<T>(points), query_lengths.data(),
                       point_lengths.data(), q, points.size(1), query.size(2)}, points, out);
  });
  return {out.indices, out.distances};
}

MMKD_DEVICE_IMPL(m) { m.impl("knn", TORCH_BOX(&knn)); }

}  // namespace
}  // namespace mmkd
