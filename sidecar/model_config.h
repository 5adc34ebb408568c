#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/byte_size.h"
#include "base/clock.h"
#include "base/result.h"
#include "net/address.h"
#include "net/http/client_connection.h"
#include "sidecar/truss_config.h"

namespace penstock::sidecar {

// What runs the model.

// A shared library, made in C++.
struct NativeModel {
  std::string library;        // as written; see findModelLibrary
  std::size_t run_ahead = 0;  // 0 or 1; 1 only with a predict concurrency of 1
  Duration hang_timeout = std::chrono::seconds(30);  // after a deadline; then the process ends
  std::map<std::string, std::string> options;
};

// A Truss: a class in Python, run in a worker process.
struct PythonModel {
  std::string config_json;  // all of config.yaml
  std::string interpreter;  // a path, or a name to be looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;
  Duration streaming_read_timeout = std::chrono::seconds(60);  // between two chunks of a response
  Duration hang_timeout = std::chrono::seconds(30);  // after a deadline; then the worker is ended
  ByteSize stream_buffer = 1_MiB;                    // of a response that is not read
};

// A model server of somebody else's, spoken to over HTTP.
struct UpstreamModel {
  // What to do with a request that runs while nobody wants its answer any more.
  enum class OnClientGone {
    kReset,  // the stream is reset (HTTP/1: the connection closed), and the permit comes back
    kWait,   // the server does not stop at that: the permit comes back when its response ends,
             // or after hang_timeout
  };
  // Which requests pass the gate: path, in which "*" stands for any characters; method, if only one
  // counts (else every POST, PUT, PATCH and WebSocket).
  struct GatePattern {
    std::string method;
    std::string path;
  };
  // A server that is started here: Truss's docker_server.
  struct Process {
    std::string start_command;  // for a shell
    std::optional<std::uint32_t> user_id;
    std::vector<std::pair<std::string, std::string>> environment;
    Duration stop_timeout = std::chrono::seconds(10);  // from SIGTERM to SIGKILL
  };

  net::Address address;
  std::optional<Process> process;  // none: it is running already
  http::UpstreamProtocol protocol = http::UpstreamProtocol::kHttp1;
  std::vector<GatePattern> gate{{.method = "", .path = "*"}};
  OnClientGone on_client_gone = OnClientGone::kReset;
  Duration hang_timeout = std::chrono::seconds(30);  // after a deadline; then kWait is kReset
  std::optional<Duration> start_timeout;
  // How long a request waits for a server that takes no connection. One from a proxy does not: that
  // has other servers.
  Duration reconnect_timeout = std::chrono::seconds(5);
  // Paths at the server; empty: there is none, and nothing is mapped to it.
  std::string predict_endpoint;
  std::string readiness_endpoint;
  std::string liveness_endpoint;
};

// What a model's directory says about it.
struct ModelConfig {
  std::string directory;  // absolute
  std::string model_name;
  std::size_t predict_concurrency = 1;
  std::variant<NativeModel, PythonModel, UpstreamModel> kind;

  // penstock:
  std::size_t preprocess_threads = 32;
  std::size_t postprocess_threads = 32;
  std::size_t max_waiting = 1000;
  Duration gate_timeout = std::chrono::seconds(600);
  ByteSize max_request_body = 64_MiB;
  ByteSize max_buffered = ByteSize{std::uint64_t{1} << 30};  // bodies of all requests together

  TrussRemarks remarks;  // for the log
};

// Reads config.yaml in directory. It is a Truss config (see truss_config.h), of which
// `runtime.predict_concurrency` (an error in the wrong place) and `docker_server` are read; the
// section `penstock` is ours and strict. Without a `library` or an `upstream` in it, and
// without `docker_server`, the model is the class in model/model.py. Errors are "file:line:column:
// what was expected", one a line.
Result<ModelConfig> loadModelConfig(const std::string& directory);

}  // namespace penstock::sidecar
