// Distances, and what travels between finding the nearest points and writing them.
#pragma once

#include <cstring>

#include "../common.h"

namespace mmkd {

// f(T{}) for the type of two clouds, once they go together.
template <class F>
void dispatch_coordinates(const Tensor& a, const Tensor& b, const char* op, F&& f) {
  require(a.dim() == 3 && b.dim() == 3 && a.size(0) == b.size(0) &&
              a.size(2) == b.size(2) && a.scalar_type() == b.scalar_type(),
          op, ": expected (B, Q, C) and (B, N, C) of one dtype");
  require(b.size(1) <= std::numeric_limits<int32_t>::max(), op, ": too many points");
  dispatch_wide(a.scalar_type(), op, f);
}

// Distance and index as one number that orders by distance, then by index: the bits of a float
// that is not negative order as the float does.
constexpr int64_t kNobody = 0x7f800000ffffffff;

MMKD_HD int64_t pack(float distance, int64_t index) {
  int32_t bits;
  std::memcpy(&bits, &distance, sizeof(bits));
  return (int64_t(bits) << 32) | index;
}

MMKD_HD void unpack(int64_t packed, int64_t& index, float& distance) {
  const int32_t bits = int32_t(packed >> 32);
  std::memcpy(&distance, &bits, sizeof(bits));
  index = packed == kNobody ? -1 : packed & 0xffffffff;
}

// Numbers of valid rows of padded samples, or none given.
class Lengths {
 public:
  Lengths(const std::optional<Tensor>& lengths, int64_t samples) {
    if (!lengths) return;
    require(lengths->numel() == samples && lengths->scalar_type() == ScalarType::Long,
            "knn: lengths must be (B,) int64");
    lengths_ = contiguous(*lengths);
  }
  const int64_t* data() const { return lengths_ ? mmkd::data<int64_t>(*lengths_) : nullptr; }

 private:
  std::optional<Tensor> lengths_;
};

MMKD_HD int64_t clamped(const int64_t* lengths, int64_t sample, int64_t most) {
  if (!lengths) return most;
  const int64_t length = lengths[sample];
  return length < 0 ? 0 : length < most ? length : most;
}

template <class T>
struct Clouds {
  const T *query, *points;                         // (B, Q, C); points as the kernel says
  const int64_t *query_lengths, *point_lengths;    // (B,) or nullptr
  int64_t queries, n, channels;
};

}  // namespace mmkd
