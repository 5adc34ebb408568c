#include "proxy/listener_shared.h"

namespace penstock::proxy {
namespace {

constexpr Duration kBetweenLines = std::chrono::seconds(1);

http::RateLimit limitOf(const RateConfig& rate) {
  return {.burst = rate.burst, .per_second = rate.per_second};
}

http::Limits limitsOf(const ListenerConfig& config) {
  http::Limits limits;
  limits.max_streams = config.max_streams;
  limits.stream_window = static_cast<std::uint32_t>(config.stream_window.count);
  limits.connection_window = static_cast<std::uint32_t>(config.connection_window.count);
  limits.max_header_bytes = config.max_header_bytes.count;
  limits.max_header_fields = config.max_header_fields;
  limits.max_path_bytes = config.max_path_bytes.count;
  limits.max_chunks = config.max_chunks;
  limits.max_chunk_extension_bytes = config.max_chunk_extension_bytes.count;
  limits.max_outbound_frames = config.max_outbound_frames;
  limits.client_resets = limitOf(config.client_resets);
  limits.forced_resets = limitOf(config.forced_resets);
  limits.frames = limitOf(config.frame_budget);
  limits.preface_timeout = config.preface_timeout;
  limits.settings_ack_timeout = config.settings_ack_timeout;
  limits.header_timeout = config.header_timeout;
  limits.body_idle_timeout = config.body_idle_timeout;
  limits.min_body_rate = config.min_body_rate.count;
  limits.write_timeout = config.write_timeout;
  limits.idle_timeout = config.idle_timeout;
  limits.max_requests_per_connection = config.max_requests_per_connection;
  limits.half_close = config.half_close == HalfClose::kAnswer ? http::HalfClose::kAnswer
                                                              : http::HalfClose::kDeparture;
  return limits;
}

}  // namespace

Result<std::unique_ptr<ListenerShared>> ListenerShared::make(const Config& config,
                                                             const ListenerConfig& listener,
                                                             std::uint32_t max_connections,
                                                             const Clock& clock, Metrics& metrics) {
  std::unique_ptr<ListenerShared> shared(
      new ListenerShared(config, listener, max_connections, metrics));
  if (listener.tls) {
    auto tls = net::TlsContext::server({.certificate_file = listener.tls->certificate,
                                        .private_key_file = listener.tls->private_key,
                                        .client_ca_file = listener.tls->client_ca},
                                       clock);
    if (!tls) {
      return failure("listener \"" + listener.name + "\": " + tls.error().message);
    }
    shared->tls_ = std::move(*tls);
    metrics.callback(
        "penstock_listener_certificate_end_timestamp_seconds",
        "When the certificate ends, in seconds since 1970.", {{"listener", listener.name}}, false,
        [tls = shared->tls_.get()] { return static_cast<double>(tls->certificateEnd()); });
  }
  return shared;
}

ListenerShared::ListenerShared(const Config& config, const ListenerConfig& listener,
                               std::uint32_t max_connections, Metrics& metrics)
    : config_(listener),
      routes_(config_.routes, config.clusters),
      limits_(limitsOf(listener)),
      max_connections_(max_connections),
      metrics_(metrics),
      accepted_(metrics.counter("penstock_listener_connections_total", "Connections accepted.",
                                {{"listener", listener.name}})) {
  metrics.callback("penstock_listener_connections", "Connections open now.",
                   {{"listener", listener.name}}, false,
                   [this] { return static_cast<double>(connections_.load()); });
}

bool ListenerShared::tryAddConnection() {
  if (connections_.fetch_add(1) >= max_connections_) {
    connections_.fetch_sub(1);
    countRejected("max_connections");
    return false;
  }
  accepted_.add();
  return true;
}

void ListenerShared::releaseConnection() {
  connections_.fetch_sub(1);
}

void ListenerShared::noteFailedHandshake(const net::Address& client, std::string_view why,
                                         TimePoint now, Logger& log) {
  countRejected("tls_handshake");
  TimePoint due = next_handshake_line_.load(std::memory_order_relaxed);
  if (now < due || !next_handshake_line_.compare_exchange_strong(due, now + kBetweenLines,
                                                                 std::memory_order_relaxed)) {
    handshakes_not_logged_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  log.info("a client's TLS handshake failed",
           {{"listener", config_.name},
            {"client", client.toString()},
            {"why", why},
            {"not_logged", handshakes_not_logged_.exchange(0, std::memory_order_relaxed)}});
}

void ListenerShared::countRejected(std::string_view reason) {
  metrics_
      .counter("penstock_listener_rejected_total",
               "Connections and requests refused before they reached a cluster.",
               {{"listener", config_.name}, {"reason", std::string(reason)}})
      .add();
}

}  // namespace penstock::proxy
