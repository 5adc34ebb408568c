// The few functions of NVML that are used, declared here as its interface has them: the library has
// been compatible since its version 2 names, and a machine that builds need not have its header.

#include "model_runtime/cuda/nvml.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include <dlfcn.h>

namespace penstock::runtime::cuda {
namespace {

using Handle = void*;
constexpr int kSuccess = 0;
constexpr int kTemperatureOfGpu = 0;

struct Utilization {
  unsigned gpu;  // percent
  unsigned memory;
};
struct Memory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

// Bits of the reasons why clocks are held down.
constexpr unsigned long long kPowerBits = 0x04 | 0x80;    // power cap, power brake
constexpr unsigned long long kThermalBits = 0x20 | 0x40;  // by software, by hardware
constexpr unsigned long long kHardwareBits = 0x08;        // slowdown, for any of several reasons

struct Functions {
  int (*init)();
  int (*shutdown)();
  const char* (*error_string)(int);
  int (*count)(unsigned*);
  int (*by_index)(unsigned, Handle*);
  int (*name)(Handle, char*, unsigned);
  int (*uuid)(Handle, char*, unsigned);
  int (*utilization)(Handle, Utilization*);
  int (*memory)(Handle, Memory*);
  int (*temperature)(Handle, int, unsigned*);
  int (*throttle_reasons)(Handle, unsigned long long*);
};

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

template <typename Function>
bool find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

bool findAll(void* library, Functions& f) {
  return find(library, "nvmlInit_v2", f.init) && find(library, "nvmlShutdown", f.shutdown) &&
         find(library, "nvmlErrorString", f.error_string) &&
         find(library, "nvmlDeviceGetCount_v2", f.count) &&
         find(library, "nvmlDeviceGetHandleByIndex_v2", f.by_index) &&
         find(library, "nvmlDeviceGetName", f.name) && find(library, "nvmlDeviceGetUUID", f.uuid) &&
         find(library, "nvmlDeviceGetUtilizationRates", f.utilization) &&
         find(library, "nvmlDeviceGetMemoryInfo", f.memory) &&
         find(library, "nvmlDeviceGetTemperature", f.temperature) &&
         find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", f.throttle_reasons);
}

bool isNumber(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c); });
}

class LoadedNvml final : public Nvml {
 public:
  LoadedNvml(Library library, const Functions& functions)
      : library_(std::move(library)), call_(functions) {}
  ~LoadedNvml() override { call_.shutdown(); }

  const std::vector<std::string>& names() const override { return names_; }

  std::vector<Figures> read() override {
    std::vector<Figures> all;
    for (const Handle gpu : gpus_) {
      all.push_back(readOne(gpu));
    }
    return all;
  }

  void choose(const char* visible) {
    unsigned count = 0;
    call_.count(&count);
    std::vector<std::pair<std::string, Handle>> all;
    for (unsigned index = 0; index < count; ++index) {
      Handle gpu = nullptr;
      std::array<char, 96> uuid{};
      if (call_.by_index(index, &gpu) == kSuccess &&
          call_.uuid(gpu, uuid.data(), uuid.size()) == kSuccess) {
        all.emplace_back(uuid.data(), gpu);
      }
    }
    if (visible == nullptr) {
      for (const auto& [uuid, gpu] : all) {
        add(gpu);
      }
      return;
    }
    for (const std::string& entry : visibleDevices(visible)) {
      const auto at = isNumber(entry)
                          ? all.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                              std::stoul(entry.substr(0, 9)), all.size()))
                          : std::ranges::find_if(
                                all, [&](const auto& one) { return one.first.starts_with(entry); });
      if (at == all.end()) {
        return;
      }
      add(at->second);
    }
  }

 private:
  void add(Handle gpu) {
    std::array<char, 96> name{};
    call_.name(gpu, name.data(), name.size());
    gpus_.push_back(gpu);
    names_.emplace_back(name.data());
  }

  Figures readOne(Handle gpu) const {
    Figures figures;
    if (Utilization share{}; call_.utilization(gpu, &share) == kSuccess) {
      figures.utilization = std::min(share.gpu, 100u) / 100.0;
    }
    if (Memory memory{}; call_.memory(gpu, &memory) == kSuccess && memory.total > 0) {
      figures.memory_used_bytes = static_cast<double>(memory.used);
      figures.memory_bytes = static_cast<double>(memory.total);
    }
    if (unsigned celsius = 0; call_.temperature(gpu, kTemperatureOfGpu, &celsius) == kSuccess) {
      figures.temperature_celsius = celsius;
    }
    if (unsigned long long bits = 0; call_.throttle_reasons(gpu, &bits) == kSuccess) {
      auto& throttled = figures.throttled.emplace();
      for (const auto& [mask, reason] :
           {std::pair(kPowerBits, Throttle::kPower), std::pair(kThermalBits, Throttle::kThermal),
            std::pair(kHardwareBits, Throttle::kHardware)}) {
        if ((bits & mask) != 0) {
          throttled.push_back(reason);
        }
      }
    }
    return figures;
  }

  const Library library_;
  const Functions call_;
  std::vector<Handle> gpus_;
  std::vector<std::string> names_;
};

}  // namespace

std::vector<std::string> visibleDevices(std::string_view text) {
  std::vector<std::string> entries;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view entry = text.substr(0, comma);
    while (entry.starts_with(' ')) {
      entry.remove_prefix(1);
    }
    while (entry.ends_with(' ')) {
      entry.remove_suffix(1);
    }
    if (!isNumber(entry) && !entry.starts_with("GPU-")) {
      break;
    }
    entries.emplace_back(entry);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return entries;
}

Result<std::unique_ptr<Nvml>> Nvml::open(const std::string& library, const char* visible) {
  Library loaded(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (loaded == nullptr) {
    return failure("there is no " + library);
  }
  Functions functions{};
  if (!findAll(loaded.get(), functions)) {
    return failure(library + " lacks a function");
  }
  if (const int error = functions.init(); error != kSuccess) {
    return failure(library + ": " + functions.error_string(error));
  }
  auto nvml = std::make_unique<LoadedNvml>(std::move(loaded), functions);
  nvml->choose(visible);
  if (nvml->names().empty()) {
    return failure(library + ": there is no GPU that this process may see");
  }
  return nvml;
}

}  // namespace penstock::runtime::cuda
