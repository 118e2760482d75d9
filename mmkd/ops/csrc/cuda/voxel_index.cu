// voxel_keys, unique_index and csr_index on CUDA: torch's stable sort, and one pass around it.
#include "../kernels/voxel_keys.h"
#include "sorted.h"

namespace mmkd {
namespace {

// The segments of sorted keys; `running` is the inclusive sum of MarkFirst.
template <class Key>
struct WriteSegments {
  const Key* sorted;
  const int64_t *order, *running;
  int64_t n, segments, limit;
  int64_t *unique, *inverse, *starts;

  MMKD_HD void operator()(int64_t i) const {
    const bool valid = sorted[i] != limit;
    const int64_t segment = running[i] - 1;
    inverse[order[i]] = valid ? segment : -1;
    if (valid && (i == 0 || sorted[i] != sorted[i - 1])) {
      unique[segment] = sorted[i];
      starts[segment] = i;
    }
    if (valid && (i == n - 1 || sorted[i + 1] == limit)) starts[segments] = i + 1;
  }
};

Tensor voxel_keys(const Tensor& points_in, const std::optional<Tensor>& batch_in,
                  int64_t batch_size, const std::vector<double>& voxel_size,
                  const std::vector<double>& low, const std::vector<int64_t>& cells) {
  const Device device(points_in);
  check_points(points_in, "voxel_keys");
  const Tensor points = contiguous(points_in);
  const int64_t n = points.size(0);
  Tensor keys = new_empty(points, {n}, ScalarType::Long);
  const std::optional<Tensor> batch = contiguous(batch_in);
  dispatch_floating(points.scalar_type(), "voxel_keys", [&](auto zero) {
    using T = decltype(zero);
    const VoxelKeys<T> key{data<T>(points), data_or_null<int64_t>(batch),
                           mutable_data<int64_t>(keys), points.size(1), batch_size,
                           make_grid(voxel_size, low, cells)};
    for_each(device, n, key);
  });
  return keys;
}

Tensor voxel_coors(const Tensor& keys_in, const std::vector<int64_t>& cells, bool with_sample) {
  const Device device(keys_in);
  const Tensor keys = contiguous(keys_in);
  const int64_t n = keys.size(0), columns = with_sample ? 4 : 3;
  Tensor coors = new_empty(keys, {n, columns}, ScalarType::Int);
  for_each(device, n, VoxelCoors{data<int64_t>(keys), cells[0], cells[1], cells[2],
                                columns, mutable_data<int32_t>(coors)});
  return coors;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> unique_index(const Tensor& keys, int64_t limit) {
  const Device device(keys);
  const int64_t n = keys.size(0);
  Tensor first = new_empty(keys, {n}, ScalarType::Long);
  Tensor inverse = new_empty(keys, {n}, ScalarType::Long);
  Tensor order, unique, starts;
  dispatch_key(limit, [&](auto key) {
    using Key = decltype(key);
    Tensor sorted;
    std::tie(sorted, order) = sort_ids<Key>(device, keys, limit);
    for_each(device, n, MarkFirst<Key>{data<Key>(sorted), limit, mutable_data<int64_t>(first)});
    const Tensor running = cumsum(first);
    const int64_t m = n ? device.read(running, n - 1) : 0;
    unique = new_empty(keys, {m}, ScalarType::Long);
    starts = new_zeros(keys, {m + 1}, ScalarType::Long);
    for_each(device, n,
             WriteSegments<Key>{data<Key>(sorted), data<int64_t>(order), data<int64_t>(running),
                                n, m, limit, mutable_data<int64_t>(unique),
                                mutable_data<int64_t>(inverse), mutable_data<int64_t>(starts)});
  });
  return {unique, inverse, order, starts};
}

std::tuple<Tensor, Tensor> csr_index(const Tensor& ids, int64_t num_segments) {
  return sorted_by_id(Device(ids), ids, num_segments);
}

MMKD_DEVICE_IMPL(m) {
  m.impl("voxel_keys", TORCH_BOX(&voxel_keys));
  m.impl("voxel_coors", TORCH_BOX(&voxel_coors));
  m.impl("unique_index", TORCH_BOX(&unique_index));
  m.impl("csr_index", TORCH_BOX(&csr_index));
}

}  // namespace
}  // namespace mmkd
