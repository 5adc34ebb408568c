#include "proxy/worker.h"

#include <algorithm>
#include <limits>

#include "proxy/filters/access_log/access_log_filter.h"
#include "proxy/filters/access_log/access_log_format.h"
#include "proxy/filters/concurrency_target/concurrency_target_filter.h"
#include "proxy/filters/router/router_filter.h"

namespace penstock::proxy {
namespace {

constexpr Duration kDrainCheckInterval = std::chrono::milliseconds(20);
// For the answers to those who came last: a connection that says nothing is closed after
// kDrainNotice, and its end takes the client's word for it a second at most.
constexpr Duration kLastAnswers = std::chrono::seconds(2);

std::string_view nameOf(http::ServerConnection::Flood flood) {
  using Flood = http::ServerConnection::Flood;
  switch (flood) {
    case Flood::kClientResets:
      return "client_resets";
    case Flood::kForcedResets:
      return "forced_resets";
    case Flood::kHeaderBytes:
      return "header_expansion";
    case Flood::kOutboundFrames:
      return "max_outbound_frames";
    case Flood::kFrames:
      break;
  }
  return "frame_budget";
}

std::string_view nameOf(http::ServerConnection::Overdue what) {
  using Overdue = http::ServerConnection::Overdue;
  switch (what) {
    case Overdue::kPreface:
      return "preface_timeout";
    case Overdue::kSettingsAck:
      return "settings_ack_timeout";
    case Overdue::kWrite:
      break;
  }
  return "write_timeout";
}

}  // namespace

// One listener on this worker with the connections that it accepted.
class Worker::Port final : public net::Listener::Handler, public DownstreamConnection::Owner {
 public:
  Port(Worker& worker, ListenerShared& shared, net::UniqueFd socket)
      : worker_(worker),
        shared_(shared),
        context_{.loop = worker.loop_,
                 .routes = shared.routes(),
                 .clusters = worker.clusters_,
                 .budget = worker.context_.budget,
                 .filters = worker.filters_,
                 .is_tls = shared.tls() != nullptr,
                 .trusted_proxies = shared.config().trusted_proxies},
        listener_(worker.loop_, std::move(socket), *this) {}

  ~Port() override {
    for (auto& [id, connection] : connections_) {
      connection->http().close();
      shared_.releaseConnection();
    }
  }

  // Newcomers still get in: their requests are refused with a reason, and their connections end
  // with that. Where other proxies share the address, these take the newcomers instead.
  void drain() {
    first_newcomer_ = next_id_;
    if (shared_.config().reuse_port) {
      listener_.closeAfterBacklog();
    }
    for (DownstreamConnection* connection : all()) {
      connection->http().drain(Idle::kAnswer);
    }
  }

  void refuseNewcomers() { listener_.closeAfterBacklog(); }

  // The time of the drain is over for what waits and for what has no end of its own.
  void endDrain() {
    for (DownstreamConnection* connection : all()) {
      connection->refuseWaiting();
      connection->endTunnels();
    }
  }

  bool hasConnections() const { return !connections_.empty(); }
  // Of those that were there when the drain began.
  bool drainsConnections() const {
    return std::ranges::any_of(connections_,
                               [this](const auto& entry) { return entry.first < first_newcomer_; });
  }
  bool drainsExchanges() const {
    return std::ranges::any_of(connections_, [this](const auto& entry) {
      return entry.first < first_newcomer_ && entry.second->exchanges() > 0;
    });
  }

  void onAccept(net::UniqueFd fd, const net::Address& peer) override {
    if (!shared_.tryAddConnection()) {
      return;
    }
    auto transport = std::make_unique<net::Connection>(
        worker_.loop_, std::move(fd), peer, shared_.tls(),
        net::Connection::Options{.write_timeout = shared_.config().write_timeout,
                                 .handshake_timeout = shared_.config().tls_handshake_timeout});
    const DownstreamConnection::Id id = next_id_++;
    const auto [entry, inserted] =
        connections_.emplace(id, std::make_unique<DownstreamConnection>(
                                     id, context_, std::move(transport), shared_.limits(), *this));
    if (id >= first_newcomer_) {
      entry->second->http().drain(Idle::kAnswer);
    }
  }

  // Out of descriptors: connections without a request make room.
  void onExhausted() override {
    shared_.countRejected("out_of_descriptors");
    for (DownstreamConnection* connection : all()) {
      if (connection->exchanges() == 0) {
        connection->http().drain(Idle::kClose);
      }
    }
  }

 private:
  using Idle = http::ServerConnection::Idle;

  // Draining may close a connection at once, which changes connections_.
  std::vector<DownstreamConnection*> all() {
    std::vector<DownstreamConnection*> result;
    result.reserve(connections_.size());
    for (auto& [id, connection] : connections_) {
      result.push_back(connection.get());
    }
    return result;
  }

  void onDownstreamClosed(DownstreamConnection& connection) override {
    auto node = connections_.extract(connection.id());
    shared_.releaseConnection();
    worker_.loop_.destroyLater(std::move(node.mapped()));
  }
  void onRejected(Reason reason) override { shared_.countRejected(outcomeOf(reason).name); }
  void onFlood(http::ServerConnection::Flood flood) override {
    shared_.countRejected(nameOf(flood));
  }
  void onHandshakeFailed(const net::Address& client, std::string_view why) override {
    shared_.noteFailedHandshake(client, why, worker_.loop_.now(), worker_.context_.log);
  }
  void onOverdue(http::ServerConnection::Overdue what) override {
    shared_.countRejected(nameOf(what));
  }
  void logRejected(const ClientAddress& client, http::Protocol protocol,
                   std::string_view request_id, const ExchangeReport& report) override {
    if (worker_.access_log_ != nullptr) {
      http::RequestHead unknown;
      unknown.headers.add("x-request-id", request_id);
      writeAccessLog(*worker_.access_log_, worker_.context_.config.access_log.format,
                     {.head = unknown,
                      .protocol = protocol,
                      .client = client.text,
                      .cluster = {},
                      .report = report});
    }
  }
  std::string newRequestId() override { return std::string(worker_.uuids_.next().text()); }

  Worker& worker_;
  ListenerShared& shared_;
  const ExchangeContext context_;
  std::unordered_map<DownstreamConnection::Id, std::unique_ptr<DownstreamConnection>> connections_;
  DownstreamConnection::Id next_id_ = 1;
  // Connections from this one on came while draining.
  DownstreamConnection::Id first_newcomer_ = std::numeric_limits<DownstreamConnection::Id>::max();
  net::Listener listener_;
};

Worker::Worker(const WorkerContext& context, std::vector<net::UniqueFd> sockets)
    : context_(context),
      loop_(context.clock),
      jitter_(std::random_device()()),
      drain_timer_(loop_, [this] { checkDrained(); }),
      gone_timer_(loop_, [this] { checkGone(); }) {
  if (context.access_log != nullptr) {
    access_log_ = std::make_unique<AccessLog>(loop_, *context.access_log);
  }
  for (std::size_t i = 0; i < context.clusters.size(); ++i) {
    clusters_.push_back(std::make_unique<UpstreamCluster>(loop_, *context.clusters[i],
                                                          context.cluster_tls[i].get()));
  }
  makeFilters();
  for (std::size_t i = 0; i < context.listeners.size(); ++i) {
    ports_.push_back(std::make_unique<Port>(*this, *context.listeners[i], std::move(sockets[i])));
  }
}

Worker::~Worker() {
  stop();
  // Connections before the upstream side that their exchanges use.
  ports_.clear();
}

void Worker::makeFilters() {
  filters_.emplace_back(
      [this](Exchange& exchange) { return std::make_unique<RequestIdFilter>(exchange, uuids_); });
  if (access_log_ != nullptr) {
    filters_.emplace_back([this](Exchange& exchange) {
      return std::make_unique<AccessLogFilter>(exchange, *access_log_,
                                               context_.config.access_log.format);
    });
  }
  filters_.emplace_back([this](Exchange& exchange) {
    return std::make_unique<ConcurrencyTargetFilter>(exchange, jitter_);
  });
  filters_.emplace_back(
      [](Exchange& exchange) { return std::make_unique<RouterFilter>(exchange); });
}

void Worker::start() {
  thread_ = std::thread([this] { loop_.run(); });
}

void Worker::stop() {
  if (thread_.joinable()) {
    loop_.stop();
    thread_.join();
  }
}

void Worker::drain(std::function<void()> on_drained) {
  loop_.post([this, done = std::move(on_drained)]() mutable {
    on_drained_ = std::move(done);
    drain_deadline_ = Deadline::after(loop_.now(), context_.config.drain_timeout);
    for (const auto& port : ports_) {
      port->drain();
    }
    checkDrained();
  });
}

void Worker::checkDrained() {
  const bool busy =
      std::ranges::any_of(ports_, [](const auto& port) { return port->drainsExchanges(); }) ||
      std::ranges::any_of(clusters_, [](const auto& cluster) { return cluster->abandoned() > 0; });
  if (busy && drain_deadline_.passed(loop_.now())) {
    for (const auto& port : ports_) {
      port->endDrain();
    }
  }
  const bool connected =
      std::ranges::any_of(ports_, [](const auto& port) { return port->drainsConnections(); });
  if (!busy && (!connected || drain_deadline_.passed(loop_.now()))) {
    on_drained_();
  } else {
    drain_timer_.armAfter(kDrainCheckInterval);
  }
}

void Worker::refuseNewcomers(std::function<void()> on_gone) {
  loop_.post([this, done = std::move(on_gone)]() mutable {
    on_drained_ = std::move(done);
    drain_deadline_ = Deadline::after(loop_.now(), kLastAnswers);
    for (const auto& port : ports_) {
      port->refuseNewcomers();
    }
    checkGone();
  });
}

void Worker::checkGone() {
  const bool connected =
      std::ranges::any_of(ports_, [](const auto& port) { return port->hasConnections(); });
  if (!connected || drain_deadline_.passed(loop_.now())) {
    on_drained_();
  } else {
    gone_timer_.armAfter(kDrainCheckInterval);
  }
}

}  // namespace penstock::proxy
