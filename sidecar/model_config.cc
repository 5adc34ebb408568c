#include "sidecar/model_config.h"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/yaml.h"
#include "base/yaml_scalar.h"
#include "sidecar/upstream/upstream_config.h"

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr char kMisplaced[] =
    "predict_concurrency has no effect here; expected it under runtime: { predict_concurrency: … }";

constexpr char kOneKind[] =
    "expected one model: a library, or an upstream, or docker_server beside this section";
constexpr char kNoKind[] =
    "expected a model: model/model.py beside this file, penstock: { library: … }, "
    "penstock: { upstream: … }, or docker_server";
constexpr char kNoEngines[] =
    "engines of TensorRT-LLM are not built here; expected a model that serves one: model/model.py "
    "beside this file, penstock: { upstream: … }, or docker_server";

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

void readThreads(YamlMap& penstock, ModelConfig& config) {
  constexpr std::size_t kMostThreads = 4096;
  penstock.optional("preprocess_threads", config.preprocess_threads, {1, kMostThreads});
  penstock.optional("postprocess_threads", config.postprocess_threads, {1, kMostThreads});
}

// What every kind of model has in `penstock:`.
void readPenstock(YamlMap& map, ModelConfig& config) {
  map.optional("max_waiting", config.max_waiting, {0, 1'000'000});
  map.optional("gate_timeout", config.gate_timeout, {1ms, 24h});
  map.optional("max_request_body", config.max_request_body, {1_KiB, 1024_MiB});
  map.optional("max_buffered", config.max_buffered, atLeast<ByteSize>(1_MiB));
  refuseMisplaced(map);
}

// With several lanes a request that is launched behind another could wait for it while another lane
// is free.
constexpr char kRunAheadLanes[] = "run_ahead: 1 is for runtime: { predict_concurrency: 1 }";

NativeModel readNative(YamlMap& penstock, std::size_t predict_concurrency) {
  NativeModel native;
  penstock.required("library", native.library);
  penstock.optional("run_ahead", native.run_ahead, {0, 1});
  if (native.run_ahead > 0 && predict_concurrency > 1) {
    penstock.keyPlace("run_ahead")->error(kRunAheadLanes);
  }
  penstock.optional("hang_timeout", native.hang_timeout, {1ms, 24h});
  if (const auto options = penstock.find("options")) {
    readOptions(*options, native.options);
  }
  return native;
}

PythonModel readPython(YamlMap& top, YamlMap* penstock) {
  PythonModel python{.config_json = top.value().json(),
                     .interpreter = "python3",
                     .environment = readEnvironment(top)};
  if (const auto runtime = top.find("runtime"); runtime && runtime->isMap()) {
    YamlMap map(*runtime);
    map.ignoreNulls();
    std::uint64_t seconds = 60;
    readWhole(map, "streaming_read_timeout", seconds, {1, 86'400});
    python.streaming_read_timeout = std::chrono::seconds(seconds);
  }
  if (penstock != nullptr) {
    penstock->optional("python", python.interpreter);
    penstock->optional("hang_timeout", python.hang_timeout, {1ms, 24h});
    penstock->optional("stream_buffer", python.stream_buffer, {128_KiB, 1024_MiB});
  }
  return python;
}

// Where Truss looks for the model's class.
bool hasPythonModel(YamlMap& top, const std::filesystem::path& directory) {
  std::string folder = "model";
  std::string file = "model.py";
  for (const auto& [key, name] :
       {std::pair("model_module_dir", &folder), std::pair("model_class_filename", &file)}) {
    if (const auto value = top.find(key); value && value->isScalar()) {
      *name = value->scalar().pythonText();
    }
  }
  std::error_code error;
  return std::filesystem::is_regular_file(directory / folder / file, error);
}

// Of what runs the model there is one.
void refuseSecondKind(YamlMap& penstock, bool docker_server) {
  const bool upstream = penstock.find("upstream").has_value();
  if (penstock.find("library") && (upstream || docker_server)) {
    penstock.keyPlace("library")->error(kOneKind);
  } else if (upstream && docker_server) {
    penstock.keyPlace("upstream")->error(kOneKind);
  }
}

UpstreamModel readUpstream(YamlMap& top, YamlMap* penstock) {
  UpstreamModel model;
  if (const auto docker_server = top.find("docker_server")) {
    readDockerServer(*docker_server, readEnvironment(top), model);
  } else {
    readAttached(*penstock, model);
  }
  if (penstock != nullptr) {
    readUpstreamOptions(*penstock, model);
  }
  return model;
}

void readKind(YamlMap& top, ModelConfig& config) {
  const auto section = top.find("penstock");
  const bool docker_server = top.find("docker_server").has_value();
  std::optional<YamlMap> map;
  if (section.has_value()) {
    readPenstock(map.emplace(*section), config);
    refuseSecondKind(*map, docker_server);
  }
  YamlMap* const penstock = map.has_value() ? &*map : nullptr;
  if (docker_server || (penstock != nullptr && penstock->find("upstream"))) {
    config.kind = readUpstream(top, penstock);
  } else {
    if (penstock != nullptr) {
      readThreads(*penstock, config);
    }
    if (penstock != nullptr && penstock->find("library")) {
      config.kind = readNative(*penstock, config.predict_concurrency);
    } else if (hasPythonModel(top, config.directory)) {
      config.kind = readPython(top, penstock);
    } else if (top.find("trt_llm")) {
      top.keyPlace("trt_llm")->error(kNoEngines);
    } else {
      (section.has_value() ? *section : top.value()).error(kNoKind);
    }
  }
  if (penstock != nullptr) {
    penstock->finish();
  }
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
  auto document = YamlDocument::load(file, {.merge_keys = true});
  if (document && document->root().isNull()) {
    document = YamlDocument::parse("{}", file);  // an empty file is a Truss with all its defaults
  }
  if (!document) {
    return std::unexpected(document.error());
  }
  ModelConfig config{.directory = absolute.string(),
                     .model_name = absolute.filename().string(),
                     .kind = {},
                     .remarks = {}};
  YamlMap top(document->root());
  top.ignoreNulls();
  top.optional("model_name", config.model_name);
  if (const auto runtime = top.find("runtime"); runtime && runtime->isMap()) {
    YamlMap map(*runtime);
    map.ignoreNulls();
    std::uint64_t concurrency = 1;
    readWhole(map, "predict_concurrency", concurrency, {1, 1024});
    config.predict_concurrency = concurrency;
  }
  refuseMisplaced(top);
  config.remarks = checkTrussKeys(top);
  readKind(top, config);
  if (auto ok = document->check(); !ok) {
    return std::unexpected(ok.error());
  }
  return config;
}

}  // namespace penstock::sidecar
