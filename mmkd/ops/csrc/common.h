// What every kernel file starts from: stable-ABI tensors, checks, dispatch over dtypes.
// Only torch's stable headers are included, so one build serves torch 2.10 and newer.
#pragma once

#include "torch_errors.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#ifdef __CUDACC__
#define MMKD_HD __host__ __device__ __forceinline__
#else
#define MMKD_HD inline
#endif

namespace mmkd {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Throws what the parts say together, if `good` is false. Not STD_TORCH_CHECK, which writes with an
// ostringstream: see torch_errors.h.
inline std::string text_of(const char* part) { return part; }
inline std::string text_of(int64_t part) { return std::to_string(part); }
template <class... Parts>
void require(bool good, const Parts&... parts) {
  if (!good) throw std::runtime_error((text_of(parts) + ...));
}

// What a sum over T is kept in: half types accumulate in float.
template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <class T>
using acc_t = typename Accumulator<T>::type;

// A new tensor on the device of `like`.
inline Tensor new_empty(const Tensor& like, std::initializer_list<int64_t> sizes, ScalarType t) {
  std::vector<int64_t> shape(sizes);
  return torch::stable::new_empty(like, {shape.data(), shape.size()}, t);
}
inline Tensor new_zeros(const Tensor& like, std::initializer_list<int64_t> sizes, ScalarType t) {
  std::vector<int64_t> shape(sizes);
  return torch::stable::new_zeros(like, {shape.data(), shape.size()}, t);
}
using torch::stable::contiguous;  // returns its argument where it already is
inline std::optional<Tensor> contiguous(const std::optional<Tensor>& t) {
  return t ? std::optional<Tensor>(contiguous(*t)) : std::nullopt;
}

template <class T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
const T* data_or_null(const std::optional<Tensor>& t) {
  return t ? data<T>(*t) : nullptr;
}
template <class T>
T* mutable_data(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

// f(T{}) for the floating type that a tensor holds. The Python side has already refused
// other dtypes with a ValueError; this is for a caller of torch.ops.mmkd.*.
template <class F>
void dispatch_floating(ScalarType type, const char* op, F&& f) {
  switch (type) {
    case ScalarType::Float: return f(float{});
    case ScalarType::Double: return f(double{});
    case ScalarType::Half: return f(Half{});
    case ScalarType::BFloat16: return f(BFloat16{});
    default: require(false, op, ": expected a floating dtype");
  }
}

// f(T{}) for float and double: the Python side has made half types into float.
template <class F>
void dispatch_wide(ScalarType type, const char* op, F&& f) {
  switch (type) {
    case ScalarType::Float: return f(float{});
    case ScalarType::Double: return f(double{});
    default: require(false, op, ": expected float32 or float64");
  }
}

// f(T{}) for int32 and int64.
template <class F>
void dispatch_index(ScalarType type, const char* op, F&& f) {
  switch (type) {
    case ScalarType::Int: return f(int32_t{});
    case ScalarType::Long: return f(int64_t{});
    default: require(false, op, ": expected int32 or int64");
  }
}

}  // namespace mmkd
