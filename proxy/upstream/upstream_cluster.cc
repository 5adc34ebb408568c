#include "proxy/upstream/upstream_cluster.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include <fmt/format.h>

#include "base/check.h"
#include "proxy/upstream/abandoned_request.h"
#include "proxy/upstream/cancel_call.h"

namespace penstock::proxy {
namespace {

// Grants told in one turn, so that a large hand-out does not starve I/O.
constexpr std::size_t kGrantsPerTurn = 256;
constexpr Duration kSweepInterval = std::chrono::seconds(1);

http::PoolSettings poolSettings(Cluster& cluster, const net::TlsContext* tls) {
  const ClusterConfig& config = cluster.config();
  http::PoolSettings settings;
  switch (config.protocol) {
    case UpstreamProtocol::kAuto:
      settings.protocol = http::UpstreamProtocol::kAuto;
      break;
    case UpstreamProtocol::kHttp2:
      settings.protocol = http::UpstreamProtocol::kHttp2;
      break;
    case UpstreamProtocol::kHttp1:
      settings.protocol = http::UpstreamProtocol::kHttp1;
      break;
  }
  settings.tls = tls;
  settings.connect_timeout = config.connect_timeout;
  settings.stream_timeout = config.connect_timeout;
  settings.max_connections = config.max_connections;
  settings.figures = &cluster.connectionFigures();
  settings.idle_timeout_http1 = config.idle_timeout_http1;
  settings.idle_timeout_http2 = config.idle_timeout_http2;
  // The pool closes idle connections by its own count; the codec must not do it sooner.
  settings.limits.idle_timeout = std::max(config.idle_timeout_http1, config.idle_timeout_http2);
  settings.limits.max_header_bytes = config.max_response_header_bytes.count;
  settings.limits.max_header_fields = config.max_response_header_fields;
  settings.limits.max_informational = static_cast<int>(config.max_informational);
  return settings;
}

}  // namespace

UpstreamCluster::UpstreamCluster(net::EventLoop& loop, Cluster& cluster, const net::TlsContext* tls)
    : loop_(loop),
      cluster_(cluster),
      collect_(loop, [this] { collect(); }),
      inbox_(cluster.queue(),
             [this] {
               if (loop_.inLoopThread()) {
                 collect_.schedule();
               } else {
                 loop_.post([this] { collect(); });
               }
             }),
      settings_(poolSettings(cluster, tls)),
      sweep_(loop, [this] { sweep(); }),
      attempt_prefix_(fmt::format("{:08x}{:08x}", std::random_device()(), std::random_device()())) {
  sweep_.armAfter(kSweepInterval);
}

UpstreamCluster::~UpstreamCluster() = default;

http::ConnectionPool& UpstreamCluster::pool(const Replica& replica) {
  std::unique_ptr<http::ConnectionPool>& pool = pools_[replica.id];
  if (pool == nullptr) {
    pool = std::make_unique<http::ConnectionPool>(loop_, replica.address, settings_);
  }
  return *pool;
}

std::string UpstreamCluster::nextAttemptId() {
  std::array<char, 16> digits;
  const auto written = std::to_chars(digits.begin(), digits.end(), ++attempts_, 16);
  return attempt_prefix_ + std::string(digits.begin(), written.ptr);
}

void UpstreamCluster::adopt(std::unique_ptr<AbandonedRequest> request) {
  AbandonedRequest* const key = request.get();
  abandoned_.emplace(key, std::move(request));
}

std::unique_ptr<AbandonedRequest> UpstreamCluster::release(AbandonedRequest& request) {
  auto node = abandoned_.extract(&request);
  PENSTOCK_CHECK(!node.empty(), "an abandoned request is released once");
  return std::move(node.mapped());
}

void UpstreamCluster::cancel(const Replica& replica, const std::string& attempt_id) {
  auto call = std::make_unique<CancelCall>(*this, replica.name, attempt_id);
  CancelCall& waiter = *call;
  cancels_.emplace(&waiter, std::move(call));
  pool(replica).wait(waiter);
}

void UpstreamCluster::endCancel(CancelCall& call) {
  auto node = cancels_.extract(&call);
  loop_.destroyLater(std::move(node.mapped()));
}

void UpstreamCluster::collect() {
  if (inbox_.collect(kGrantsPerTurn)) {
    collect_.schedule();
  }
}

void UpstreamCluster::sweep() {
  for (auto it = pools_.begin(); it != pools_.end();) {
    it->second->closeIdle(loop_.now());
    it = it->second->empty() ? pools_.erase(it) : std::next(it);
  }
  sweep_.armAfter(kSweepInterval);
}

}  // namespace penstock::proxy
