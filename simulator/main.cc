#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include <fmt/format.h>
#include <unistd.h>

#include "proxy/config/loader.h"
#include "simulator/options.h"
#include "simulator/plot.h"
#include "simulator/policies.h"
#include "simulator/report.h"

namespace {

using namespace penstock;
using namespace penstock::simulator;

int complain(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

Result<proxy::ScalingSettings> readSettings(const Options& options) {
  const Result<proxy::Config> config = proxy::loadConfig(options.config_file);
  if (!config) {
    return std::unexpected(config.error());
  }
  std::string names;
  for (const proxy::ClusterConfig& cluster : config->clusters) {
    const bool only = options.cluster.empty() && config->clusters.size() == 1;
    if (only || cluster.name == options.cluster) {
      return proxy::ScalingSettings{.concurrency_target = cluster.concurrency_target,
                                    .autoscaling = cluster.autoscaling};
    }
    names += (names.empty() ? "" : ", ") + cluster.name;
  }
  return failure(fmt::format("{}: expected --cluster to be one of {}, got \"{}\"",
                             options.config_file, names, options.cluster));
}

std::unique_ptr<Policy> makePolicy(const std::string& name, const Scenario& scenario,
                                   const Options& options) {
  const proxy::ScalingSettings& settings = scenario.settings;
  if (name == "baseten") {
    return std::make_unique<BasetenPolicy>(settings);
  }
  if (name == "kpa") {
    return std::make_unique<KpaPolicy>(settings);
  }
  if (name == "fixed") {
    return std::make_unique<FixedPolicy>(
        options.fixed_replicas.value_or(settings.autoscaling.max_replicas));
  }
  if (name == "oracle") {
    return std::make_unique<OraclePolicy>(settings, scenario.load, scenario.start_up.longest);
  }
  return std::make_unique<PenstockPolicy>(settings);
}

PolicyRun run(const std::string& name, const Scenario& scenario, const Options& options) {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const auto progress = [&](double share) {
    const auto done = static_cast<int>(share * 40);
    std::fprintf(stderr, "\r%-9s [%-40.*s] %3.0f %%", name.c_str(), done,
                 "########################################", share * 100);
  };
  Scenario own = scenario;
  if (name == "fixed") {
    own.initial_replicas =
        options.fixed_replicas.value_or(scenario.settings.autoscaling.max_replicas);
  }
  const std::unique_ptr<Policy> policy = makePolicy(name, own, options);
  Outcome outcome = simulate(own, *policy, terminal ? progress : std::function<void(double)>());
  if (terminal) {
    std::fprintf(stderr, "\r%60s\r", "");
  }
  return {.policy = name,
          .figures = figuresOf(outcome, own.load.length),
          .timeline = std::move(outcome.timeline)};
}

Result<void> writeFile(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  if (!(out << text).flush()) {
    return failure(fmt::format("{}: expected a file that can be written", file.string()));
  }
  return {};
}

Result<void> writeAll(const Options& options, const std::string& report,
                      const std::vector<PolicyRun>& runs, std::uint32_t target) {
  const std::filesystem::path folder(options.out_folder);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return failure(fmt::format("{}: expected a folder that can be made: {}", folder.string(),
                               error.message()));
  }
  for (const auto& [name, text] :
       {std::pair{"report.txt", report}, std::pair{"timeline.csv", timelineCsv(runs)},
        std::pair{"plot.svg", plotOf(runs, target)}}) {
    if (const Result<void> written = writeFile(folder / name, text); !written) {
      return written;
    }
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parseCommandLine(argc, argv);
  if (!options) {
    return options.error();
  }
  const Result<proxy::ScalingSettings> settings = readSettings(*options);
  if (!settings) {
    return complain(settings.error().message);
  }
  Result<Load> load = options->trace_file.empty() ? generate(options->synthetic)
                                                  : readTrace(options->trace_file, options->model);
  if (!load) {
    return complain(load.error().message);
  }
  const Scenario scenario{.load = std::move(*load),
                          .settings = *settings,
                          .start_up = options->start_up,
                          .initial_replicas = settings->autoscaling.min_replicas,
                          .seed = options->seed};
  std::vector<PolicyRun> runs;
  for (const std::string& policy : options->policies) {
    runs.push_back(run(policy, scenario, *options));
  }
  const std::string report = reportOf(scenario, runs);
  std::fputs(report.c_str(), stdout);
  if (!options->out_folder.empty()) {
    if (const auto written = writeAll(*options, report, runs, settings->concurrency_target);
        !written) {
      return complain(written.error().message);
    }
  }
  return 0;
}
