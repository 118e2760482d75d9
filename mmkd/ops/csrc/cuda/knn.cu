// knn on CUDA: tiles of distances and torch's selection of the smallest; few neighbours in few
// channels (three_nn) need no tile.
#include "../kernels/neighbours.h"
#include "launch.h"

namespace mmkd {
namespace {

constexpr int64_t kTileBytes = 64 << 20;
constexpr int64_t kFewChannels = 8;

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

template <class T>
void search(const Device& device, Clouds<T> in, const Tensor& points, const Output& out) {
  if (in.n == 0 || (out.k <= kFew && in.channels <= kFewChannels)) {
    for_each(device, out.indices.size(0) * in.queries,
             FewNeighbours<T>{in, mutable_data<int64_t>(out.indices),
                              mutable_data<T>(out.distances), out.k});
    return;
  }
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
  STD_TORCH_CHECK(k > 0, "knn: k must be positive");
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
