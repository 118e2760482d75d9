// interpolate and its gradients on CUDA.
#include "weighted_rows.h"

#include "../kernels/interpolate.h"

namespace mmkd {
namespace {

MMKD_DEVICE_IMPL(m) {
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_features", TORCH_BOX(&interpolate_features));
  m.impl("interpolate_weights", TORCH_BOX(&interpolate_weights));
}

}  // namespace
}  // namespace mmkd
