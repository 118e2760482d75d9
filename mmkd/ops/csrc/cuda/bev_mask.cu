// bev_mask on CUDA: one thread per cell looks through the boxes of its sample.
#include "../kernels/bev_mask.h"
#include "sorted.h"

namespace mmkd {
namespace {

// instance[(b * height + row) * width + column] = first box of sample b over the cell, or -1.
// `order` and `starts` sort the boxes by sample; without them all are in sample 0.
template <class T>
struct FirstBox {
  const T *boxes, *xs, *ys;
  const int64_t *order, *starts;  // or nullptr
  int64_t count, width, height;
  int64_t* instance;

  MMKD_HD void operator()(int64_t cell) const {
    const T x = xs[cell % width], y = ys[cell / width % height];
    const int64_t sample = cell / width / height;
    const int64_t begin = starts ? starts[sample] : 0,
                  end = starts ? starts[sample + 1] : sample == 0 ? count : 0;
    int64_t found = -1;
    for (int64_t i = begin; i < end && found < 0; ++i) {
      const int64_t k = order ? order[i] : i;
      if (covers(boxes + k * kFootprint, x, y)) found = k;
    }
    instance[cell] = found;
  }
};

Tensor bev_mask(const Tensor& boxes_in, const std::optional<Tensor>& batch,
                const Tensor& xs_in, const Tensor& ys_in, int64_t batch_size) {
  const Device device(boxes_in);
  require(boxes_in.size(1) == kFootprint, "bev_mask: boxes must have 6 columns");
  const Tensor boxes = contiguous(boxes_in), xs = contiguous(xs_in), ys = contiguous(ys_in);
  Tensor instance = new_empty(boxes, {batch_size, ys.size(0), xs.size(0)}, ScalarType::Long);
  Tensor order, starts;
  if (batch) std::tie(order, starts) = sorted_by_id(device, *batch, batch_size);
  const int64_t* order_of = batch ? data<int64_t>(order) : nullptr;
  const int64_t* start_of = batch ? data<int64_t>(starts) : nullptr;
  dispatch_wide(boxes.scalar_type(), "bev_mask", [&](auto zero) {
    using T = decltype(zero);
    for_each(device, instance.numel(),
             FirstBox<T>{data<T>(boxes), data<T>(xs), data<T>(ys), order_of, start_of,
                         boxes.size(0), xs.size(0), ys.size(0), mutable_data<int64_t>(instance)});
  });
  return instance;
}

MMKD_DEVICE_IMPL(m) { m.impl("bev_mask", TORCH_BOX(&bev_mask)); }

}  // namespace
}  // namespace mmkd
