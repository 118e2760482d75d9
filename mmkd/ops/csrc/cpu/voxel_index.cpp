// voxel_keys, unique_index and csr_index on the CPU.
#include "../kernels/voxel_keys.h"
#include "sort.h"

namespace mmkd {
namespace {

Tensor voxel_keys(const Tensor& points_in, const std::optional<Tensor>& batch_in,
                  int64_t batch_size, const std::vector<double>& voxel_size,
                  const std::vector<double>& low, const std::vector<int64_t>& cells) {
  check_points(points_in, "voxel_keys");
  const Tensor points = contiguous(points_in);
  const int64_t n = points.size(0);
  Tensor keys = new_output(points, {n}, ScalarType::Long);
  const std::optional<Tensor> batch = contiguous(batch_in);
  dispatch_floating(points.scalar_type(), "voxel_keys", [&](auto zero) {
    using T = decltype(zero);
    const VoxelKeys<T> key{data<T>(points), data_or_null<int64_t>(batch),
                           mutable_data<int64_t>(keys), points.size(1), batch_size,
                           make_grid(voxel_size, low, cells)};
    for_each(n, 16384, key);
  });
  return keys;
}

Tensor voxel_coors(const Tensor& keys_in, const std::vector<int64_t>& cells, bool with_sample) {
  const Tensor keys = contiguous(keys_in);
  const int64_t n = keys.size(0), columns = with_sample ? 4 : 3;
  Tensor coors = new_output(keys, {n, columns}, ScalarType::Int);
  for_each(n, 16384, VoxelCoors{data<int64_t>(keys), cells[0], cells[1], cells[2],
                                columns, mutable_data<int32_t>(coors)});
  return coors;
}

// (unique (M,), inverse (N,), order (N,), starts (M+1,)); keys outside [0, limit) belong to no
// segment.
std::tuple<Tensor, Tensor, Tensor, Tensor> unique_index(const Tensor& keys_in, int64_t limit) {
  const Tensor keys = contiguous(keys_in);
  const int64_t n = keys.size(0);
  const int64_t* key = data<int64_t>(keys);
  Tensor inverse = new_output(keys, {n}, ScalarType::Long);
  Tensor order = new_output(keys, {n}, ScalarType::Long);
  Tensor unique, starts;
  int64_t* inverse_of = mutable_data<int64_t>(inverse);
  int64_t* order_of = mutable_data<int64_t>(order);
  with_sorted(key, n, limit, order_of, inverse_of,
              [&](auto* items, auto& id_of, auto& position_of, int64_t count) {
    for (int64_t i = count; i < n; ++i) {
      order_of[i] = position_of(items[i]);
      inverse_of[order_of[i]] = -1;
    }
    const Chunks chunks(count);
    const auto id_before = [&](int64_t i) { return i == 0 ? -1 : id_of(items[i - 1]); };
    std::vector<int64_t> segments(chunks.count + 1, 0);
    chunks.each([&](int64_t c, int64_t begin, int64_t end) {
      // No branch, here and below: whether a segment begins is anyone's guess.
      int64_t firsts = 0, last = id_before(begin);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t id = id_of(items[i]);
        firsts += id != last;
        last = id;
      }
      segments[c + 1] = firsts;
    });
    for (int64_t c = 0; c < chunks.count; ++c) segments[c + 1] += segments[c];
    const int64_t m = segments[chunks.count];
    unique = new_output(keys, {m}, ScalarType::Long);
    starts = new_output(keys, {m + 1}, ScalarType::Long);
    int64_t* unique_of = mutable_data<int64_t>(unique);
    int64_t* start_of = mutable_data<int64_t>(starts);
    start_of[0] = 0;
    // A segment belongs to the chunk that it begins in. Where those begin is found before the
    // items are overwritten.
    std::vector<int64_t> bounds(chunks.count + 1, count);
    for (int64_t c = 0; c < chunks.count; ++c) {
      int64_t i = chunks.begin(c);
      while (i < count && id_of(items[i]) == id_before(i)) ++i;
      bounds[c] = i;
    }
    chunks.each([&](int64_t c, int64_t, int64_t) {
      const int64_t begin = bounds[c], end = bounds[c + 1];
      int64_t segment = segments[c] - 1, last = -1;
      for (int64_t i = begin; i < end; ++i) {
        // Of what a segment's elements write, the last one's stays.
        const int64_t id = id_of(items[i]), position = position_of(items[i]);
        segment += id != last;
        last = id;
        unique_of[segment] = id;
        start_of[segment + 1] = i + 1;
        order_of[i] = position;
        inverse_of[position] = segment;
      }
    });
  });
  return {unique, inverse, order, starts};
}

// (order (N,), starts (S+1,)) of ids in [0, S); other ids come last in order.
std::tuple<Tensor, Tensor> csr_index(const Tensor& ids_in, int64_t num_segments) {
  const Tensor ids = contiguous(ids_in);
  const int64_t n = ids.size(0);
  Tensor order = new_output(ids, {n}, ScalarType::Long);
  Tensor starts = new_output(ids, {num_segments + 1}, ScalarType::Long);
  int64_t* start_of = mutable_data<int64_t>(starts);
  dispatch_index(ids.scalar_type(), "csr_index", [&](auto zero) {
    using Index = decltype(zero);
    const Index* id = data<Index>(ids);
    auto scratch = uninitialized<int64_t>(n);
    int64_t* order_of = mutable_data<int64_t>(order);
    with_sorted(id, n, num_segments, order_of, scratch.get(),
                [&](auto* items, auto& id_of, auto& position_of, int64_t count) {
      // starts[s] = first sorted entry whose id is at least s.
      int64_t next = 0;
      for (int64_t i = 0; i < count; ++i)
        for (const int64_t s = id_of(items[i]); next <= s; ++next) start_of[next] = i;
      for (; next <= num_segments; ++next) start_of[next] = count;
      for_each(n, 16384, [&](int64_t i) { order_of[i] = position_of(items[i]); });
    });
  });
  return {order, starts};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("voxel_keys", TORCH_BOX(&voxel_keys));
  m.impl("voxel_coors", TORCH_BOX(&voxel_coors));
  m.impl("unique_index", TORCH_BOX(&unique_index));
  m.impl("csr_index", TORCH_BOX(&csr_index));
}

}  // namespace
}  // namespace mmkd
