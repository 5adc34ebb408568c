// The few functions of NVML that are used, declared here as its interface has them: the library has
// been compatible since its version 2 names, and a machine that builds need not have its header.
// CUDA 13 has new names for two of them and means to drop the old, so they need not be there.

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
struct Temperature {
  unsigned version;
  int sensor;
  int celsius;
};
// As NVML_STRUCT_VERSION makes it.
constexpr unsigned kTemperatureVersion = sizeof(Temperature) | 1u << 24;

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
  // Null where the library has none.
  int (*temperature)(Handle, Temperature*);
  int (*old_temperature)(Handle, int, unsigned*);
  int (*throttle_reasons)(Handle, unsigned long long*);
};

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

// Whether the library has it.
template <typename Function>
bool find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

// The name of a function that must be there and is not, or null.
const char* firstMissing(void* library, Functions& f) {
  const auto missing = [library](const char* name, auto*& function) {
    return find(library, name, function) ? nullptr : name;
  };
  for (const char* name :
       {missing("nvmlInit_v2", f.init), missing("nvmlShutdown", f.shutdown),
        missing("nvmlErrorString", f.error_string), missing("nvmlDeviceGetCount_v2", f.count),
        missing("nvmlDeviceGetHandleByIndex_v2", f.by_index), missing("nvmlDeviceGetName", f.name),
        missing("nvmlDeviceGetUUID", f.uuid),
        missing("nvmlDeviceGetUtilizationRates", f.utilization),
        missing("nvmlDeviceGetMemoryInfo", f.memory)}) {
    if (name != nullptr) {
      return name;
    }
  }
  find(library, "nvmlDeviceGetTemperatureV", f.temperature);
  find(library, "nvmlDeviceGetTemperature", f.old_temperature);
  if (!find(library, "nvmlDeviceGetCurrentClocksEventReasons", f.throttle_reasons)) {
    find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", f.throttle_reasons);
  }
  return nullptr;
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
    all.reserve(gpus_.size());
    for (Handle gpu : gpus_) {
      all.push_back(readOne(gpu));
    }
    return all;
  }

  // What the library says of its GPUs, if that is an error.
  int choose(const char* visible) {
    unsigned count = 0;
    if (const int error = call_.count(&count); error != kSuccess) {
      return error;
    }
    // All of them, so that numbers are right: one that does not answer has no handle.
    std::vector<std::pair<std::string, Handle>> all;
    for (unsigned index = 0; index < count; ++index) {
      Handle gpu = nullptr;
      std::array<char, 96> uuid{};
      if (call_.by_index(index, &gpu) != kSuccess ||
          call_.uuid(gpu, uuid.data(), uuid.size()) != kSuccess) {
        gpu = nullptr;
      }
      all.emplace_back(uuid.data(), gpu);
    }
    if (visible == nullptr) {
      for (const auto& [uuid, gpu] : all) {
        add(gpu);
      }
      return kSuccess;
    }
    for (const std::string& entry : visibleDevices(visible)) {
      const auto at = isNumber(entry)
                          ? all.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                              std::stoul(entry.substr(0, 9)), all.size()))
                          : std::ranges::find_if(
                                all, [&](const auto& one) { return one.first.starts_with(entry); });
      if (at == all.end()) {
        break;
      }
      add(at->second);
    }
    return kSuccess;
  }

 private:
  void add(Handle gpu) {
    if (gpu == nullptr) {
      return;
    }
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
    figures.temperature_celsius = temperature(gpu);
    if (unsigned long long bits = 0;
        call_.throttle_reasons != nullptr && call_.throttle_reasons(gpu, &bits) == kSuccess) {
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

  std::optional<double> temperature(Handle gpu) const {
    Temperature now{.version = kTemperatureVersion, .sensor = kTemperatureOfGpu, .celsius = 0};
    if (call_.temperature != nullptr && call_.temperature(gpu, &now) == kSuccess) {
      return now.celsius;
    }
    unsigned celsius = 0;
    if (call_.old_temperature != nullptr &&
        call_.old_temperature(gpu, kTemperatureOfGpu, &celsius) == kSuccess) {
      return celsius;
    }
    return std::nullopt;
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

std::string_view visiblePart(std::string_view text) {
  const std::size_t part = text.find("MIG-");
  return part == std::string_view::npos ? std::string_view()
                                        : text.substr(part, text.find(',', part) - part);
}

Result<std::unique_ptr<Nvml>> Nvml::open(const std::string& library, const char* visible) {
  Library loaded(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (loaded == nullptr) {
    return nullptr;
  }
  Functions functions{};
  if (const char* missing = firstMissing(loaded.get(), functions)) {
    return failure(library + " has no " + missing);
  }
  const auto failed = [&](int error) {
    return failure(library + ": " + functions.error_string(error));
  };
  if (const int error = functions.init(); error != kSuccess) {
    return failed(error);
  }
  auto nvml = std::make_unique<LoadedNvml>(std::move(loaded), functions);
  if (const int error = nvml->choose(visible); error != kSuccess) {
    return failed(error);
  }
  if (nvml->names().empty()) {
    return nullptr;
  }
  return nvml;
}

}  // namespace penstock::runtime::cuda
