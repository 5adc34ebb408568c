// Checks and times on a GPU what cannot be shown without one, and prints one table.
// scripts/gpu_check.sh builds and runs it.
//
// usage: gpu_check [--small]      --small: only what is right or wrong, on small images
//
// Exits with 0 if everything is as wanted, 1 if not, 3 if there is no GPU.

#include <cstdio>
#include <cstring>

#include "model_runtime/cuda/device.h"
#include "tests/gpu/checks.h"

int main(int argc, char** argv) {
  using namespace penstock;
  const bool small = argc == 2 && std::strcmp(argv[1], "--small") == 0;
  if (argc > 1 && !small) {
    std::fprintf(stderr, "usage: gpu_check [--small]\n");
    return 2;
  }
  const auto devices = runtime::cuda::openDevices();
  if (!devices) {
    std::fprintf(stderr, "gpu_check: no GPU: %s\n", devices.error().text().c_str());
    return 3;
  }
  std::printf("%s\n\n", (*devices)[0]->name().c_str());
  Table table;
  checkMatmul(table);
  checkDenoise(table, small);
  if (!small) {
    checkOutOfMemory(table);
    checkOverlap(table);
    timeHandOver(table);
    timeBusyShare(table);
    timeDenoise(table);
    timeRuntime(table);
  }
  return table.allGood() ? 0 : 1;
}
