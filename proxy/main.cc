#include <cstdio>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include "base/signals.h"
#include "proxy/config/overrides.h"
#include "proxy/config/shared_replicas.h"
#include "proxy/server.h"
#include "proxy/start_files.h"

namespace {

using namespace penstock;
using namespace penstock::proxy;

struct Options {
  std::string config_file;
  std::string mode = "serve";
  std::uint32_t workers = std::max(1u, std::min(64u, std::thread::hardware_concurrency()));
  std::string log_level = "info";
};

// The exit status if the program is to end here.
std::optional<int> parseCommandLine(int argc, char** argv, Options& options) {
  CLI::App app(
      "penstock-proxy: a reverse proxy that sends each replica of a model at most its "
      "concurrency target and queues the rest.");
  app.set_version_flag("--version", "penstock-proxy " PENSTOCK_VERSION);
  app.add_option("-c,--config", options.config_file, "Configuration (YAML)");
  app.add_option("--mode", options.mode, "serve, or validate: check the configuration and exit")
      ->check(CLI::IsMember({"serve", "validate"}));
  app.add_option("--concurrency", options.workers, "Worker threads")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  // Not required(): that would be complained about before an unknown option.
  if (options.config_file.empty()) {
    std::fprintf(stderr, "--config is required: the file to serve by\n");
    return 1;
  }
  return std::nullopt;
}

void raiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

int complain(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (const auto status = parseCommandLine(argc, argv, options)) {
    return *status;
  }
  const auto start = loadStartConfig(options.config_file);
  if (!start) {
    return complain(start.error().message);
  }
  const SteadyClock clock;
  if (options.mode == "validate") {
    if (const auto usable = checkStartFiles(start->config, clock); !usable) {
      return complain(usable.error().message);
    }
    for (const SharedReplicas& shared : sharedReplicas(replicasOf(start->config))) {
      std::fprintf(stderr, "%s: warning: %s\n", options.config_file.c_str(),
                   shared.warning.c_str());
    }
    std::printf("%s: valid\n", options.config_file.c_str());
    return 0;
  }
  ignoreStraySignals();
  raiseOpenFileLimit();
  Logger log({.level = *parseLogLevel(options.log_level), .program = "penstock-proxy"});
  auto server = Server::make(*start, PENSTOCK_VERSION, options.workers, clock, log);
  if (!server) {
    log.error("cannot start", {{"error", server.error().message}});
    return 1;
  }
  return (*server)->run();
}
