#include "simulator/options.h"

#include <cmath>
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/quantity.h"

namespace penstock::simulator {
namespace {

const std::vector<std::string> kPolicies = {"penstock", "baseten", "kpa", "fixed", "oracle"};

// What CLI11 stores as it is written, to be read when all is there.
struct Texts {
  std::string policy = "all";
  std::string load;
  std::string start_up = "10s";
  std::string service = "1s";
  std::string period = "5m";
  std::string length = "1h";
};

int complain(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

Result<Duration> readDuration(const char* option, const std::string& text) {
  const auto duration = parseDuration(text);
  if (!duration) {
    return failure(
        fmt::format("{}: expected a time with its unit, like 10s, got \"{}\"", option, text));
  }
  return *duration;
}

// "10s", or "8s..15s".
Result<StartUp> readStartUp(const std::string& text) {
  const std::size_t dots = text.find("..");
  const auto shortest = readDuration("--start-up", text.substr(0, dots));
  const auto longest =
      dots == std::string::npos ? shortest : readDuration("--start-up", text.substr(dots + 2));
  if (!shortest || !longest) {
    return std::unexpected(!shortest ? shortest.error() : longest.error());
  }
  if (*longest < *shortest) {
    return failure("--start-up: expected the shorter time first, got \"" + text + "\"");
  }
  return StartUp{.shortest = *shortest, .longest = *longest};
}

Result<void> readTimes(const Texts& texts, Options& options) {
  const auto start_up = readStartUp(texts.start_up);
  if (!start_up) {
    return std::unexpected(start_up.error());
  }
  options.start_up = *start_up;
  const auto read = [](const char* option, const std::string& text,
                       Duration& target) -> Result<void> {
    const auto duration = readDuration(option, text);
    if (!duration) {
      return std::unexpected(duration.error());
    }
    if (*duration <= Duration::zero()) {
      return failure(fmt::format("{}: expected more than nothing, got \"{}\"", option, text));
    }
    target = *duration;
    return {};
  };
  for (const Result<void>& result :
       {read("--service", texts.service, options.synthetic.service.mean),
        read("--period", texts.period, options.synthetic.period),
        read("--length", texts.length, options.synthetic.length)}) {
    if (!result) {
      return result;
    }
  }
  return {};
}

Result<void> check(const Texts& texts, Options& options) {
  static const std::map<std::string, Shape> shapes = {{"poisson", Shape::kPoisson},
                                                      {"step", Shape::kStep},
                                                      {"ramp", Shape::kRamp},
                                                      {"sawtooth", Shape::kSawtooth},
                                                      {"on-off", Shape::kOnOff}};
  if (options.config_file.empty()) {
    return failure("--config is required: the proxy's configuration, with the cluster to simulate");
  }
  if (options.trace_file.empty() == texts.load.empty()) {
    return failure("expected either --trace FILE or --load SHAPE");
  }
  if (!texts.load.empty()) {
    options.synthetic.shape = shapes.at(texts.load);
  }
  options.policies = texts.policy == "all" ? kPolicies : std::vector{texts.policy};
  options.synthetic.seed = options.seed;
  return readTimes(texts, options);
}

void addLoadOptions(CLI::App& app, Options& options, Texts& texts) {
  const auto seconds = CLI::Range(0.0, 86'400.0);
  const auto demand = CLI::Range(0.0, 100'000.0);
  app.add_option("--trace", options.trace_file,
                 "Requests (CSV): TIMESTAMP,ContextTokens,GeneratedTokens or "
                 "arrival_seconds,service_seconds");
  app.add_option("--service-base", options.model.base_seconds,
                 "Of a request in a trace with tokens: seconds, whatever its size")
      ->check(seconds)
      ->capture_default_str();
  app.add_option("--service-per-context-token", options.model.per_context_token_seconds,
                 "… and seconds for each token read")
      ->check(seconds)
      ->capture_default_str();
  app.add_option("--service-per-generated-token", options.model.per_generated_token_seconds,
                 "… and seconds for each token written")
      ->check(seconds)
      ->capture_default_str();
  app.add_option(
         "--load", texts.load,
         "Without a trace: poisson (high all the time), step (low, then high), ramp (low to "
         "high), sawtooth (that in each period), on-off (half of each period)")
      ->check(CLI::IsMember({"poisson", "step", "ramp", "sawtooth", "on-off"}));
  app.add_option("--low", options.synthetic.low, "Requests here at a time when nobody has to wait")
      ->check(demand)
      ->capture_default_str();
  app.add_option("--high", options.synthetic.high, "… and at the most")
      ->check(demand)
      ->capture_default_str();
  app.add_option("--period", texts.period, "Of sawtooth and on-off; when the step comes")
      ->capture_default_str();
  app.add_option("--length", texts.length, "Of the load")->capture_default_str();
  app.add_option("--service", texts.service, "Mean service time")->capture_default_str();
  app.add_flag("--exponential", options.synthetic.service.exponential,
               "Service times are exponential, not all the same");
  app.add_flag("--closed-loop", options.synthetic.closed_loop,
               "Users that each have one request here at all times, instead of random arrivals");
}

}  // namespace

std::expected<Options, int> parseCommandLine(int argc, char** argv) {
  Options options;
  Texts texts;
  CLI::App app(
      "penstock-sim: runs the proxy's admission queue and autoscaler against a trace or a "
      "synthetic "
      "load, in virtual time, and compares scaling policies.");
  app.set_version_flag("--version", "penstock-sim " PENSTOCK_VERSION);
  app.add_option("-c,--config", options.config_file, "The proxy's configuration (YAML)");
  app.add_option("--cluster", options.cluster, "Whose settings to take, if there are several");
  app.add_option("--policy", texts.policy, "penstock, baseten, kpa, fixed, oracle, or all")
      ->check(CLI::IsMember({"penstock", "baseten", "kpa", "fixed", "oracle", "all"}))
      ->capture_default_str();
  app.add_option("--start-up", texts.start_up,
                 "From a replica's start until it is ready: 10s, or at random 8s..15s")
      ->capture_default_str();
  app.add_option("--fixed-replicas", options.fixed_replicas,
                 "Of the policy fixed (default: max_replicas)")
      ->check(CLI::Range(0, 10'000));
  app.add_option("--seed", options.seed, "Of all that is random")->capture_default_str();
  app.add_option("--out", options.out_folder,
                 "Folder for report.txt, timeline.csv and plot.svg; is made");
  addLoadOptions(app, options, texts);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return std::unexpected(app.exit(error) == 0 ? 0 : 1);
  }
  if (const Result<void> checked = check(texts, options); !checked) {
    return std::unexpected(complain(checked.error().message));
  }
  return options;
}

}  // namespace penstock::simulator
