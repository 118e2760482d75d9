// bev_mask on the CPU: each box looks at the cells of its bounding rectangle alone.
#include "../kernels/bev_mask.h"
#include "parallel.h"

namespace mmkd {
namespace {

struct Window {
  int64_t left, right, top, bottom;  // columns [left, right), rows [top, bottom)
};

// The cells that may lie inside: the bounding rectangle, widened by more than the inside test
// can be off by rounding. `xs` and `ys` ascend.
template <class T>
Window window_of(const T* box, const T* xs, int64_t width, const T* ys, int64_t height) {
  const double half_x = box[2], half_y = box[3];
  if (!(half_x > 0 && half_y > 0)) return {0, 0, 0, 0};
  const double cosine = std::abs(double(box[4])), sine = std::abs(double(box[5])),
               slack = 1e-4 * (half_x + half_y);
  const double reach_x = cosine * half_x + sine * half_y + slack,
               reach_y = sine * half_x + cosine * half_y + slack;
  const auto below = [](T value, double bound) { return double(value) < bound; };
  const auto above = [](double bound, T value) { return bound < double(value); };
  return {std::lower_bound(xs, xs + width, box[0] - reach_x, below) - xs,
          std::upper_bound(xs, xs + width, box[0] + reach_x, above) - xs,
          std::lower_bound(ys, ys + height, box[1] - reach_y, below) - ys,
          std::upper_bound(ys, ys + height, box[1] + reach_y, above) - ys};
}

// Rows [begin, end) of one sample; boxes in order, so that the first to cover a cell keeps it.
template <class T>
void fill_rows(const T* boxes, const Window* windows, const int64_t* batch, int64_t count,
               const T* xs, const T* ys, int64_t sample, int64_t begin, int64_t end,
               int64_t width, int64_t* map) {
  std::fill(map + begin * width, map + end * width, -1);
  for (int64_t k = 0; k < count; ++k) {
    if ((batch ? batch[k] : 0) != sample) continue;
    const Window& window = windows[k];
    for (int64_t row = std::max(window.top, begin); row < std::min(window.bottom, end); ++row)
      for (int64_t column = window.left; column < window.right; ++column) {
        int64_t& cell = map[row * width + column];
        if (cell < 0 && covers(boxes + k * kFootprint, xs[column], ys[row])) cell = k;
      }
  }
}

template <class T>
void first_boxes(const Tensor& boxes_in, const int64_t* batch, const Tensor& xs_in,
                 const Tensor& ys_in, int64_t samples, int64_t* instance) {
  const T *boxes = data<T>(boxes_in), *xs = data<T>(xs_in), *ys = data<T>(ys_in);
  const int64_t count = boxes_in.size(0), width = xs_in.size(0), height = ys_in.size(0);
  std::vector<Window> windows(count);
  for_each(count, 256, [&](int64_t k) {
    windows[k] = window_of(boxes + k * kFootprint, xs, width, ys, height);
  });
  constexpr int64_t rows = 32;
  const int64_t bands = (height + rows - 1) / rows;
  for_each(samples * bands, 1, [&](int64_t task) {
    const int64_t sample = task / bands, begin = task % bands * rows;
    fill_rows(boxes, windows.data(), batch, count, xs, ys, sample, begin,
              std::min(begin + rows, height), width, instance + sample * height * width);
  });
}

Tensor bev_mask(const Tensor& boxes_in, const std::optional<Tensor>& batch_in,
                const Tensor& xs_in, const Tensor& ys_in, int64_t batch_size) {
  require(boxes_in.size(1) == kFootprint, "bev_mask: boxes must have 6 columns");
  const Tensor boxes = contiguous(boxes_in), xs = contiguous(xs_in), ys = contiguous(ys_in);
  const std::optional<Tensor> batch = contiguous(batch_in);
  const int64_t* batch_of = data_or_null<int64_t>(batch);
  Tensor instance = new_output(boxes, {batch_size, ys.size(0), xs.size(0)}, ScalarType::Long);
  int64_t* out = mutable_data<int64_t>(instance);
  dispatch_wide(boxes.scalar_type(), "bev_mask", [&](auto zero) {
    first_boxes<decltype(zero)>(boxes, batch_of, xs, ys, batch_size, out);
  });
  return instance;
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) { m.impl("bev_mask", TORCH_BOX(&bev_mask)); }

}  // namespace
}  // namespace mmkd
