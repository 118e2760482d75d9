// interpolate and its gradients on the CPU.
#include "weighted_rows.h"

#include "../kernels/interpolate.h"

namespace mmkd {
namespace {

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_features", TORCH_BOX(&interpolate_features));
  m.impl("interpolate_weights", TORCH_BOX(&interpolate_weights));
}

}  // namespace
}  // namespace mmkd
