#include <string_view>

#include "model_runtime/cuda/device.h"

namespace penstock::runtime::cuda {

std::string DeviceError::text() const {
  // The path as the compiler was given it says where it was built, which is nobody's business.
  std::string_view file = where.file_name();
  file.remove_prefix(file.rfind('/') == std::string_view::npos ? 0 : file.rfind('/') + 1);
  return std::string(file) + ":" + std::to_string(where.line()) + ": " + message;
}

}  // namespace penstock::runtime::cuda
