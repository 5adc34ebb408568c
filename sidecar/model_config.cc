#include "sidecar/model_config.h"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/yaml.h"

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr char kMisplaced[] =
    "predict_concurrency has no effect here; expected it under runtime: { predict_concurrency: … }";

void refuseMisplaced(YamlMap& map) {
  if (map.find("predict_concurrency")) {
    map.keyPlace("predict_concurrency")->error(kMisplaced);
  }
}

void readOptions(const YamlValue& value, std::map<std::string, std::string>& options) {
  YamlMap map(value);
  for (const std::string& key : map.unknownKeys()) {
    if (auto text = map.find(key)->string()) {
      options.emplace(key, std::move(*text));
    }
  }
}

void readPenstock(const YamlValue& value, ModelConfig& config) {
  constexpr std::size_t kMostThreads = 4096;
  YamlMap map(value);
  NativeModel native;
  map.required("library", native.library);
  map.optional("preprocess_threads", config.preprocess_threads, {1, kMostThreads});
  map.optional("postprocess_threads", config.postprocess_threads, {1, kMostThreads});
  map.optional("max_waiting", config.max_waiting, {0, 1'000'000});
  map.optional("gate_timeout", config.gate_timeout, {1ms, 24h});
  map.optional("max_request_body", config.max_request_body, {1_KiB, 1024_MiB});
  map.optional("max_buffered", config.max_buffered, atLeast<ByteSize>(1_MiB));
  if (const auto options = map.find("options")) {
    readOptions(*options, native.options);
  }
  config.kind = std::move(native);
  refuseMisplaced(map);
  map.finish();
}

}  // namespace

Result<ModelConfig> loadModelConfig(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path absolute = fs::canonical(directory, error);
  if (error || !fs::is_directory(absolute, error)) {
    return failure(directory + ": expected a model's directory, with a config.yaml in it");
  }
  const std::string file = (fs::path(directory) / "config.yaml").lexically_normal().string();
  auto document = YamlDocument::load(file);
  if (!document) {
    return std::unexpected(document.error());
  }
  ModelConfig config{
      .directory = absolute.string(), .model_name = absolute.filename().string(), .kind = {}};
  YamlMap top(document->root());
  top.ignoreNulls();
  top.optional("model_name", config.model_name);
  if (const auto runtime = top.find("runtime")) {
    YamlMap map(*runtime);
    map.ignoreNulls();
    map.optional("predict_concurrency", config.predict_concurrency, {1, 1024});
  }
  refuseMisplaced(top);
  if (const auto penstock = top.need("penstock")) {
    readPenstock(*penstock, config);
  }
  if (auto ok = document->check(); !ok) {
    return std::unexpected(ok.error());
  }
  return config;
}

}  // namespace penstock::sidecar
