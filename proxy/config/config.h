#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/byte_size.h"
#include "base/clock.h"
#include "net/address_range.h"

// The proxy's configuration as plain values: what the loader makes of the file, with every default
// filled in. Nothing behind it reads YAML.
namespace penstock::proxy {

using namespace std::chrono_literals;

struct AdminConfig {
  // Loopback unless the operator says otherwise; port 0 takes a free one.
  std::string address = "127.0.0.1:9901";
  // Holds the token that changes must bring; empty: none is asked for, and changes are taken on
  // loopback only.
  std::string token_file;
  // Where accepted changes of settings are kept for the next start; empty: nowhere.
  std::string overrides_file;
};

struct ExternalScalerConfig {
  std::string address;  // ip:port; port 0 takes a free one
};

enum class AccessLogFormat { kDefault, kJson };

struct AccessLogConfig {
  // A file, "/dev/stdout", "/dev/stderr", or "none".
  std::string path = "/dev/stdout";
  AccessLogFormat format = AccessLogFormat::kDefault;

  bool enabled() const { return path != "none"; }
};

struct LimitsConfig {
  // Bytes of bodies buffered in the whole process, beyond which requests are refused as overloaded.
  // Absent: a quarter of the memory (of the cgroup, if it has a limit).
  std::optional<ByteSize> max_buffered;
};

struct RouteConfig {
  std::string prefix = "/";
  // "api.example.com" or "*.example.com", lower case, without a port; empty: any host.
  std::vector<std::string> hosts;
  std::string cluster;
  Duration timeout = 1200s;                    // of the whole request
  std::optional<Duration> first_byte_timeout;  // of the replica's first response byte; absent: none
  Duration stream_idle_timeout = 300s;         // between bytes while a replica has the request
  ByteSize request_buffer = 1_MiB;             // buffered before a slot is asked for
  ByteSize response_buffer = 1_MiB;            // buffered before the replica is paused
  ByteSize max_request_body = 64_MiB;          // beyond: 413
  bool idempotent = false;                     // may be retried even if it may have been executed
};

struct ListenerTlsConfig {
  std::string certificate;  // PEM chain
  std::string private_key;  // PEM
  std::string client_ca;    // PEM; empty: no client certificate is asked for
};

// So many at once, and so many a second in the long run. burst 0: any number.
struct RateConfig {
  std::uint32_t burst;
  std::uint32_t per_second;

  bool operator==(const RateConfig&) const = default;
};

// What it means that an HTTP/1 client ends its direction once its request is sent.
enum class HalfClose { kAnswer, kDeparture };

struct ListenerConfig {
  std::string name;
  std::string address;      // ip:port; port 0 takes a free one
  bool reuse_port = false;  // other proxies may listen there too, if they say so as well
  std::optional<ListenerTlsConfig> tls;
  // Peers that are believed what they say of the client: x-forwarded-proto and the like.
  std::vector<net::AddressRange> trusted_proxies;
  std::uint32_t max_connections = 10'000;
  std::uint32_t max_streams = 100;  // per connection, until their work has ended
  ByteSize stream_window = 256_KiB;
  ByteSize connection_window = 4_MiB;
  ByteSize max_header_bytes = 64_KiB;
  std::uint32_t max_header_fields = 100;
  ByteSize max_path_bytes = 8_KiB;
  std::uint32_t max_chunks = 65'536;           // HTTP/1 chunks of one body
  ByteSize max_chunk_extension_bytes = 256_B;  // per chunk line
  std::uint32_t max_outbound_frames = 5'000;   // HTTP/2 frames queued towards the client
  // Of one HTTP/2 connection, which ends beyond them.
  RateConfig client_resets{.burst = 200, .per_second = 20};    // requests that the client resets
  RateConfig forced_resets{.burst = 100, .per_second = 10};    // that we reset for what it did
  RateConfig frame_budget{.burst = 2'000, .per_second = 200};  // frames beyond what requests need
  Duration tls_handshake_timeout = 10s;
  Duration preface_timeout = 5s;  // HTTP/2 preface and SETTINGS
  Duration settings_ack_timeout = 10s;
  Duration header_timeout = 10s;  // absolute, first byte to end of headers
  Duration body_idle_timeout = 30s;
  ByteSize min_body_rate = 1_KiB;                 // a second, measured over 10 s
  Duration idle_timeout = 60s;                    // connection without a stream
  Duration write_timeout = 30s;                   // without progress towards the client
  std::uint64_t max_requests_per_connection = 0;  // 0: unlimited
  HalfClose half_close = HalfClose::kAnswer;
  std::vector<RouteConfig> routes;
};

struct QueueConfig {
  std::uint32_t max_requests = 1'000;
  ByteSize max_bytes = 256_MiB;
  Duration timeout = 600s;

  bool operator==(const QueueConfig&) const = default;
};

enum class UpstreamProtocol { kAuto, kHttp2, kHttp1 };

struct ClusterTlsConfig {
  std::string ca;           // PEM; empty: the system's
  std::string server_name;  // SNI and the name verified; empty: the name of dns replicas, else
                            // their address
};

struct StaticReplicas {
  std::vector<std::string> addresses;  // ip:port, at least one
};

struct ProcessReplicas {
  // Program and arguments; "{address}" in an argument becomes the replica's address.
  std::vector<std::string> command;
  Duration start_timeout = 600s;   // until ready, else it is stopped and started again
  Duration drain_timeout = 1200s;  // until one that is to go has finished what it has
  Duration stop_timeout = 30s;     // from SIGTERM to SIGKILL
};

// Of the addresses behind a name.
enum class AddressFamily { kBoth, kIpv4, kIpv6 };

struct DnsReplicas {
  std::string name;
  std::uint16_t port = 0;  // with srv, the records bring it
  bool srv = false;        // look up SRV records, then their targets
  AddressFamily family = AddressFamily::kBoth;
  std::vector<std::string> resolvers;  // ip:port of name servers; empty: those of resolv.conf
  Duration min_refresh = 1s;           // the answer's time to live, but not shorter
  Duration max_refresh = 30s;          // … and not longer
  Duration timeout = 5s;               // of one lookup
};

using ReplicasConfig = std::variant<StaticReplicas, ProcessReplicas, DnsReplicas>;

struct HealthCheckConfig {
  std::string path = "/health/ready";
  // Asked by grpc.health.v1 instead of the path: a service, or the whole server if it is empty.
  std::optional<std::string> grpc = std::nullopt;
  Duration interval = 5s;
  Duration timeout = 1s;
  std::uint32_t unhealthy_threshold = 3;  // failures in a row
  std::uint32_t healthy_threshold = 1;    // successes in a row
};

struct EjectionConfig {
  std::uint32_t consecutive_failures = 5;  // connect failures or 502s; 0: never
  Duration base_time = 30s;                // × how often it was ejected
};

struct RetryConfig {
  std::uint32_t max_attempts = 2;    // the first one included
  std::uint32_t budget = 20;         // percent of what is in flight
  std::uint32_t min_concurrent = 3;  // always allowed
};

enum class OnClientGone {
  kWait,   // the slot is held until the replica's work has really ended
  kReset,  // the replica's stream is reset and the slot comes back at once
};

struct AutoscalingConfig {
  std::uint32_t min_replicas = 1;
  std::uint32_t max_replicas = 1;
  Duration window = 60s;
  Duration scale_down_delay = 900s;
  std::uint32_t target_utilization = 70;   // percent
  std::uint32_t max_scale_down_rate = 50;  // percent per delay

  bool operator==(const AutoscalingConfig&) const = default;
};

// What of a cluster may change while it serves.
struct ClusterSettings {
  std::uint32_t concurrency_target = 1;  // requests per replica at a time
  QueueConfig queue;
  AutoscalingConfig autoscaling;

  bool operator==(const ClusterSettings&) const = default;
};

// Each of the settings by name; the order is that of the documentation.
enum class Setting : std::uint8_t {
  kConcurrencyTarget,
  kMaxRequests,
  kMaxBytes,
  kTimeout,
  kMinReplicas,
  kMaxReplicas,
  kWindow,
  kScaleDownDelay,
  kTargetUtilization,
  kMaxScaleDownRate,
};
inline constexpr std::size_t kSettings = static_cast<std::size_t>(Setting::kMaxScaleDownRate) + 1;
using SettingSet = std::bitset<kSettings>;

struct ClusterConfig : ClusterSettings {
  std::string name;
  SettingSet settings_given;  // those of the settings that the file has
  UpstreamProtocol protocol = UpstreamProtocol::kAuto;
  std::optional<ClusterTlsConfig> tls;
  ReplicasConfig replicas;
  Duration connect_timeout = 1s;
  std::uint32_t max_connect_attempts = 3;  // connects for one request, 25–250 ms apart
  // To each replica, of each worker; beyond: requests wait for connect_timeout and are put back. 0:
  // as many as the slots in use need.
  std::uint32_t max_connections = 0;
  ByteSize max_response_header_bytes = 64_KiB;     // beyond: 502
  std::uint32_t max_response_header_fields = 100;  // beyond: 502
  std::uint32_t max_informational = 10;            // 1xx responses before the final one
  Duration idle_timeout_http1 = 4s;                // uvicorn closes at 5 s
  Duration idle_timeout_http2 = 60s;
  // Static replicas are checked only if this is given; processes always are, at /health/ready
  // unless the path is given.
  std::optional<HealthCheckConfig> health_check;
  EjectionConfig ejection;
  RetryConfig retry;
  OnClientGone on_client_gone = OnClientGone::kWait;
  // Past its route's timeout: how long a request that nobody waits for keeps its slot.
  Duration cancel_grace = 30s;
};

struct Config {
  AdminConfig admin;
  std::optional<ExternalScalerConfig> external_scaler;  // absent: KEDA is not served
  AccessLogConfig access_log;
  LimitsConfig limits;
  Duration drain_timeout = 30s;  // to stop admitting; what runs then has its own timeout
  std::vector<ListenerConfig> listeners;
  std::vector<ClusterConfig> clusters;
};

}  // namespace penstock::proxy
