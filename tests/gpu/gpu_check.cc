// Checks and times on a GPU what cannot be shown without one. scripts/gpu_check.sh builds it, and
// runs each check as a process of its own, since after some errors CUDA works no more in a process.
//
// usage: gpu_check          prints the device's name, its driver's CUDA and the head of the table
//        gpu_check CHECK    prints the check's rows; the names are below
//
// Exits with 0 if everything is as wanted, 1 if not, 3 if there is no GPU, 4 if it could not go on.

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string_view>

#include "model_runtime/cuda/device.h"
#include "tests/gpu/busy_kernel.h"
#include "tests/gpu/checks.h"

namespace {

struct Check {
  std::string_view name;
  void (*run)(penstock::Table&);
};
constexpr Check kChecks[] = {
    {"matmul", penstock::checkMatmul},
    {"denoise", [](penstock::Table& table) { penstock::checkDenoise(table, false); }},
    {"memory", penstock::checkOutOfMemory},
    {"overlap", penstock::checkOverlap},
    {"hand-over", penstock::timeHandOver},
    {"busy-share", penstock::timeBusyShare},
    {"throughput", penstock::timeDenoise},
    {"runtime", penstock::timeRuntime},
    // Only what is right or wrong, on small images, for a slow tool to watch.
    {"small",
     [](penstock::Table& table) {
       penstock::checkMatmul(table);
       penstock::checkDenoise(table, true);
     }},
};

}  // namespace

int main(int argc, char** argv) {
  const auto* const check =
      argc == 2 ? std::ranges::find(kChecks, std::string_view(argv[1]), &Check::name)
                : std::end(kChecks);
  if (argc > 2 || (argc == 2 && check == std::end(kChecks))) {
    std::fprintf(stderr, "usage: gpu_check [CHECK], one of\n");
    for (const Check& one : kChecks) {
      std::fprintf(stderr, "  %s\n", one.name.data());
    }
    return 2;
  }
  const auto devices = penstock::runtime::cuda::openDevices();
  if (!devices) {
    const bool absent = devices.error().fault == penstock::runtime::cuda::DeviceFault::kAbsent;
    std::fprintf(stderr, "gpu_check: %s: %s\n", absent ? "no GPU" : "CUDA does not work here",
                 devices.error().text().c_str());
    return absent ? 3 : 4;
  }
  if (argc == 1) {
    const int version = penstock::driversCudaVersion();
    std::printf("%s, driver for CUDA %d.%d\n\n", (*devices)[0]->name().c_str(), version / 1000,
                version % 1000 / 10);
    std::printf("| what | measured | wanted | |\n|---|---|---|---|\n");
    return 0;
  }
  penstock::Table table;
  check->run(table);
  return table.allGood() ? 0 : 1;
}
