// A library made for a version of the interface that was, or will be.

#include <cstdint>

#include "model_runtime/model.h"

extern "C" std::uint32_t penstock_model_abi_version() {
  return penstock::runtime::kModelAbiVersion + 1;
}
extern "C" penstock::runtime::Model* penstock_model_create() {
  return nullptr;
}
