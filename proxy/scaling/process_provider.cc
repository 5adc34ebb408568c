#include "proxy/scaling/process_provider.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace penstock::proxy {

ProcessProvider::ProcessProvider(net::EventLoop& loop, const ClusterConfig& cluster,
                                 LoopbackPorts& ports, ReplicaHealth& health, Metrics& metrics,
                                 Logger& logger, const RestartPolicy& policy)
    : loop_(loop),
      cluster_(cluster.name),
      config_(std::get<ProcessReplicas>(cluster.replicas)),
      initial_(cluster.autoscaling.min_replicas),
      policy_(policy),
      ports_(ports),
      health_(health),
      logger_(logger),
      times_(metrics, cluster_) {}

void ProcessProvider::start() {
  scaleTo(initial_);
}

void ProcessProvider::scaleTo(std::uint32_t replicas) {
  while (processes_.size() < replicas && takeOneBack()) {
  }
  while (processes_.size() < replicas) {
    processes_.push_back(std::make_unique<ReplicaProcess>(loop_, cluster_, config_, policy_, ports_,
                                                          health_, times_, logger_));
    processes_.back()->start();
  }
  while (processes_.size() > replicas) {
    retire(leastNeeded());
  }
}

Fleet ProcessProvider::fleet() const {
  const auto ready = static_cast<std::uint32_t>(
      std::ranges::count_if(processes_, [](const auto& process) { return process->ready(); }));
  return {.ready = ready,
          .starting = static_cast<std::uint32_t>(processes_.size()) - ready,
          .start_up = times_.last_start.value_or(Fleet{}.start_up)};
}

std::string ProcessProvider::trouble() const {
  const auto troubled = std::ranges::find_if(
      processes_, [](const auto& process) { return !process->trouble().empty(); });
  return troubled == processes_.end() ? std::string()
                                      : "a replica is not started: " + (*troubled)->trouble();
}

// Of equals the youngest, so that the others' caches stay warm.
ProcessProvider::Processes::iterator ProcessProvider::leastNeeded() {
  const auto need = [](const auto& process) {
    return std::pair(process->ready(), process->inFlight());
  };
  const auto last = std::ranges::min_element(processes_.rbegin(), processes_.rend(), {}, need);
  return std::prev(last.base());
}

void ProcessProvider::retire(Processes::iterator process) {
  ReplicaProcess* const retired = process->get();
  retiring_.push_back(std::move(*process));
  processes_.erase(process);
  retired->retire([this, retired] {
    std::erase_if(retiring_, [&](const auto& one) { return one.get() == retired; });
  });
}

bool ProcessProvider::takeOneBack() {
  const auto taken =
      std::ranges::find_if(retiring_, [](const auto& process) { return process->takeBack(); });
  if (taken == retiring_.end()) {
    return false;
  }
  processes_.push_back(std::move(*taken));
  retiring_.erase(taken);
  return true;
}

void ProcessProvider::stop(std::move_only_function<void()> stopped) {
  stopped_ = std::move(stopped);
  std::ranges::move(retiring_, std::back_inserter(processes_));
  retiring_.clear();
  running_ = processes_.size();
  if (running_ == 0) {
    loop_.post(std::move(stopped_));
    return;
  }
  for (const auto& process : processes_) {
    process->stop([this] {
      if (--running_ == 0) {
        stopped_();
      }
    });
  }
}

}  // namespace penstock::proxy
