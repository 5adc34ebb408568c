#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include "base/log.h"
#include "base/signals.h"
#include "net/listener.h"
#include "sidecar/server.h"

namespace {

using namespace penstock;
using namespace penstock::sidecar;

struct CommandLine {
  std::string model;
  std::string listen;
  std::size_t concurrency_limit = 1000;
  double drain_timeout_s = 1200;
  std::string log_level = "info";
};

// The exit status if the program is to end here.
std::optional<int> parseCommandLine(int argc, char** argv, CommandLine& line) {
  CLI::App app(
      "penstock-sidecar: runs a model behind its predict gate, and answers for it over HTTP.");
  app.set_version_flag("--version", "penstock-sidecar " PENSTOCK_VERSION);
  app.add_option("--model", line.model, "The model's directory, with its config.yaml")->required();
  app.add_option("--listen", line.listen, "Address to listen on, e.g. 127.0.0.1:8090; port 0: any")
      ->required();
  app.add_option("--concurrency-limit", line.concurrency_limit,
                 "Requests taken at a time; more are refused as not executed")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}))
      ->capture_default_str();
  app.add_option("--drain-timeout", line.drain_timeout_s,
                 "Seconds that running requests have to end after SIGTERM")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--log-level", line.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return std::nullopt;
}

int complain(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

void raiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line;
  if (const auto status = parseCommandLine(argc, argv, line)) {
    return *status;
  }
  const auto model = loadModelConfig(line.model);
  if (!model) {
    return complain(model.error().message);
  }
  const auto address = net::Address::parse(line.listen);
  if (!address) {
    return complain("--listen: " + address.error().message);
  }
  ignoreStraySignals();
  net::UniqueFd handed_over = net::takeInheritedSocket();
  raiseOpenFileLimit();
  const SteadyClock clock;
  Logger log(
      Logger::Options{.level = *parseLogLevel(line.log_level), .program = "penstock-sidecar"});
  auto server = Server::make({.model = *model,
                              .listen = *address,
                              .concurrency_limit = line.concurrency_limit,
                              .drain_timeout = std::chrono::duration_cast<Duration>(
                                  std::chrono::duration<double>(line.drain_timeout_s))},
                             std::move(handed_over), clock, log);
  if (!server) {
    log.error("cannot start", {{"error", server.error().message}});
    return 1;
  }
  const int status = (*server)->run();
  if ((*server)->abandoned()) {
    // A thread inside the model cannot be ended; the process can. What was logged goes out first;
    // the log stays, for threads that still run.
    log.flush();
    std::_Exit(status);
  }
  return status;
}
