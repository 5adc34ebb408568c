#include "proxy/config/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proxy/config/config_text.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST(ConfigLoader, ReadsWhatIsWritten) {
  const Config config = load(R"(
admin: { address: "[::1]:9000" }
external_scaler: { address: 127.0.0.1:9902 }
access_log: { path: /tmp/access.log, format: json }
limits: { max_buffered: 1GiB }
drain_timeout: 5s
listeners:
  - name: ingress
    address: 127.0.0.1:8080
    tls: { certificate: a.crt, private_key: a.key, client_ca: ca.crt }
    max_streams: 7
    routes:
      - { prefix: /v1, hosts: [API.Example.com., "*.example.org"], cluster: m, timeout: 3s,
          first_byte_timeout: 2s, stream_idle_timeout: 1s, request_buffer: 2KiB,
          response_buffer: 3KiB, max_request_body: 0B, idempotent: true }
clusters:
  - name: m
    concurrency_target: 4
    protocol: h2
    tls: { ca: ca.crt, server_name: m.internal }
    queue: { max_requests: 0, max_bytes: 1KiB, timeout: 2s }
    replicas:
      process: { command: [run, "--listen={address}", 5], start_timeout: 3s, stop_timeout: 0s }
    health_check: { path: /up, interval: 10ms, timeout: 1ms, unhealthy_threshold: 1, healthy_threshold: 2 }
    on_client_gone: reset
    autoscaling: { min_replicas: 2, max_replicas: 3 }
)");
  EXPECT_EQ(config.admin.address, "[::1]:9000");
  EXPECT_EQ(config.external_scaler.value().address, "127.0.0.1:9902");
  EXPECT_EQ(config.access_log.path, "/tmp/access.log");
  EXPECT_EQ(config.access_log.format, AccessLogFormat::kJson);
  EXPECT_EQ(config.limits.max_buffered, 1024_MiB);
  EXPECT_EQ(config.drain_timeout, 5s);
  const ListenerConfig& listener = config.listeners.at(0);
  EXPECT_EQ(listener.address, "127.0.0.1:8080");
  ASSERT_TRUE(listener.tls);
  EXPECT_EQ(listener.tls->private_key, "a.key");
  EXPECT_EQ(listener.tls->client_ca, "ca.crt");
  EXPECT_EQ(listener.max_streams, 7U);
  const RouteConfig& route = listener.routes.at(0);
  EXPECT_EQ(route.prefix, "/v1");
  EXPECT_THAT(route.hosts, ElementsAre("api.example.com", "*.example.org"));
  EXPECT_EQ(route.cluster, "m");
  EXPECT_EQ(route.timeout, 3s);
  EXPECT_EQ(route.first_byte_timeout, 2s);
  EXPECT_EQ(route.stream_idle_timeout, 1s);
  EXPECT_EQ(route.request_buffer, 2_KiB);
  EXPECT_EQ(route.response_buffer, 3_KiB);
  EXPECT_EQ(route.max_request_body, 0_B);
  EXPECT_TRUE(route.idempotent);
  const ClusterConfig& cluster = config.clusters.at(0);
  EXPECT_EQ(cluster.concurrency_target, 4U);
  EXPECT_EQ(cluster.protocol, UpstreamProtocol::kHttp2);
  EXPECT_EQ(cluster.tls->server_name, "m.internal");
  EXPECT_EQ(cluster.queue.max_requests, 0U);
  const auto& process = std::get<ProcessReplicas>(cluster.replicas);
  EXPECT_THAT(process.command, ElementsAre("run", "--listen={address}", "5"));
  EXPECT_EQ(process.start_timeout, 3s);
  EXPECT_EQ(process.stop_timeout, 0s);
  ASSERT_TRUE(cluster.health_check);
  EXPECT_EQ(cluster.health_check->path, "/up");
  EXPECT_EQ(cluster.health_check->healthy_threshold, 2U);
  EXPECT_EQ(cluster.on_client_gone, OnClientGone::kReset);
  EXPECT_EQ(cluster.autoscaling.min_replicas, 2U);
}

TEST(ConfigLoader, RaisesTheMaximumToAMinimumThatStandsAlone) {
  const Config config = load(R"(
listeners: [{name: i, address: "127.0.0.1:0", routes: [{prefix: /, cluster: m}]}]
clusters:
  - name: m
    replicas: {process: {command: [run, "{address}"]}}
    autoscaling: {min_replicas: 3}
)");
  EXPECT_EQ(config.clusters.at(0).autoscaling.max_replicas, 3U);
}

// Each row of LIMITS that is a key of a listener.
DnsReplicas dnsReplicas(const std::string& keys) {
  const Config config = load(
      "listeners: [{name: a, address: 127.0.0.1:81, routes: [{prefix: /, cluster: m}]}]\n"
      "clusters: [{name: m, replicas: {dns: {name: n, port: 1, " +
      keys + "}}}]\n");
  return std::get<DnsReplicas>(config.clusters.at(0).replicas);
}

TEST(ConfigLoader, ResolversListenAtPort53UnlessTheyAreSaidToDoOtherwise) {
  EXPECT_THAT(
      dnsReplicas("resolvers: [10.0.0.1, '10.0.0.1:54', 'fd00::a', '[fd00::b]', "
                  "'[fd00::c]:54']")
          .resolvers,
      ElementsAre("10.0.0.1:53", "10.0.0.1:54", "[fd00::a]:53", "[fd00::b]:53", "[fd00::c]:54"));
}

TEST(ConfigLoader, ReadsWhichAddressesAreAskedFor) {
  EXPECT_EQ(dnsReplicas("srv: false").family, AddressFamily::kBoth);
  EXPECT_EQ(dnsReplicas("family: ipv4").family, AddressFamily::kIpv4);
  EXPECT_EQ(dnsReplicas("family: ipv6").family, AddressFamily::kIpv6);
}

TEST(ConfigLoader, RaisesTheLongestRefreshToAShortestThatStandsAlone) {
  EXPECT_EQ(dnsReplicas("min_refresh: 1m").max_refresh, 1min);
  EXPECT_EQ(dnsReplicas("min_refresh: 1m, max_refresh: 2m").max_refresh, 2min);
}

TEST(ConfigLoader, ReadsWhoIsTrustedAndWhatAHalfCloseMeans) {
  const Config config =
      load(minimalText("trusted_proxies: [10.0.0.0/8, \"::1\"]\n    half_close: departure"));
  const ListenerConfig& listener = config.listeners[0];
  ASSERT_EQ(listener.trusted_proxies.size(), 2U);
  EXPECT_EQ(listener.trusted_proxies[0].toString(), "10.0.0.0/8");
  EXPECT_EQ(listener.trusted_proxies[1].toString(), "::1/128");
  EXPECT_EQ(listener.half_close, HalfClose::kDeparture);
}

TEST(ConfigLoader, GivesListenersTheDocumentedDefaults) {
  const ListenerConfig listener = load(minimalText()).listeners.at(0);
  EXPECT_FALSE(listener.tls);
  EXPECT_FALSE(listener.reuse_port);
  EXPECT_EQ(listener.max_connections, 10'000U);
  EXPECT_EQ(listener.max_streams, 100U);
  EXPECT_EQ(listener.stream_window, 256_KiB);
  EXPECT_EQ(listener.connection_window, 4_MiB);
  EXPECT_EQ(listener.max_header_bytes, 64_KiB);
  EXPECT_EQ(listener.max_header_fields, 100U);
  EXPECT_EQ(listener.max_path_bytes, 8_KiB);
  EXPECT_EQ(listener.max_chunks, 65'536U);
  EXPECT_EQ(listener.max_chunk_extension_bytes, 256_B);
  EXPECT_EQ(listener.max_outbound_frames, 5'000U);
  EXPECT_EQ(listener.client_resets, (RateConfig{.burst = 200, .per_second = 20}));
  EXPECT_EQ(listener.forced_resets, (RateConfig{.burst = 100, .per_second = 10}));
  EXPECT_EQ(listener.frame_budget, (RateConfig{.burst = 2'000, .per_second = 200}));
  EXPECT_EQ(listener.max_requests_per_connection, 0U);
  EXPECT_EQ(listener.tls_handshake_timeout, 10s);
  EXPECT_EQ(listener.preface_timeout, 5s);
  EXPECT_EQ(listener.settings_ack_timeout, 10s);
  EXPECT_EQ(listener.header_timeout, 10s);
  EXPECT_EQ(listener.body_idle_timeout, 30s);
  EXPECT_EQ(listener.min_body_rate, 1_KiB);
  EXPECT_EQ(listener.idle_timeout, 60s);
  EXPECT_EQ(listener.write_timeout, 30s);
}

TEST(ConfigLoader, GivesRoutesTheDocumentedDefaults) {
  const RouteConfig route = load(minimalText()).listeners.at(0).routes.at(0);
  EXPECT_TRUE(route.hosts.empty());
  EXPECT_EQ(route.timeout, 1200s);
  EXPECT_FALSE(route.first_byte_timeout);
  EXPECT_EQ(route.stream_idle_timeout, 300s);
  EXPECT_EQ(route.request_buffer, 1_MiB);
  EXPECT_EQ(route.response_buffer, 1_MiB);
  EXPECT_EQ(route.max_request_body, 64_MiB);
  EXPECT_FALSE(route.idempotent);
}

TEST(ConfigLoader, ReadsAHealthCheckByGrpc) {
  const auto check =
      load(minimalText("", "", "health_check: {grpc: \"\"}")).clusters.at(0).health_check;
  ASSERT_TRUE(check);
  EXPECT_EQ(check->grpc, "");
  EXPECT_FALSE(load(minimalText("", "", "health_check: {}")).clusters.at(0).health_check->grpc);
}

TEST(ConfigLoader, GivesClustersTheDocumentedDefaults) {
  const ClusterConfig cluster = load(minimalText()).clusters.at(0);
  EXPECT_EQ(cluster.concurrency_target, 1U);
  EXPECT_EQ(cluster.protocol, UpstreamProtocol::kAuto);
  EXPECT_FALSE(cluster.tls);
  EXPECT_EQ(cluster.queue.max_requests, 1'000U);
  EXPECT_EQ(cluster.queue.max_bytes, 256_MiB);
  EXPECT_EQ(cluster.queue.timeout, 600s);
  EXPECT_EQ(cluster.connect_timeout, 1s);
  EXPECT_EQ(cluster.max_connect_attempts, 3U);
  EXPECT_EQ(cluster.max_connections, 0U);
  EXPECT_EQ(cluster.max_response_header_bytes, 64_KiB);
  EXPECT_EQ(cluster.max_response_header_fields, 100U);
  EXPECT_EQ(cluster.max_informational, 10U);
  EXPECT_EQ(cluster.idle_timeout_http1, 4s);
  EXPECT_EQ(cluster.idle_timeout_http2, 60s);
  EXPECT_FALSE(cluster.health_check);
  EXPECT_EQ(cluster.ejection.consecutive_failures, 5U);
  EXPECT_EQ(cluster.ejection.base_time, 30s);
  EXPECT_EQ(cluster.retry.max_attempts, 2U);
  EXPECT_EQ(cluster.retry.budget, 20U);
  EXPECT_EQ(cluster.retry.min_concurrent, 3U);
  EXPECT_EQ(cluster.on_client_gone, OnClientGone::kWait);
  EXPECT_EQ(cluster.cancel_grace, 30s);
  EXPECT_EQ(cluster.autoscaling.min_replicas, 1U);
  EXPECT_EQ(cluster.autoscaling.window, 60s);
  EXPECT_EQ(cluster.autoscaling.scale_down_delay, 900s);
  EXPECT_EQ(cluster.autoscaling.target_utilization, 70U);
  EXPECT_EQ(cluster.autoscaling.max_scale_down_rate, 50U);
}

TEST(ConfigLoader, GivesTheProcessTheDocumentedDefaults) {
  const Config config = load(minimalText());
  EXPECT_EQ(config.admin.address, "127.0.0.1:9901");
  EXPECT_FALSE(config.external_scaler);
  EXPECT_EQ(config.access_log.path, "/dev/stdout");
  EXPECT_EQ(config.access_log.format, AccessLogFormat::kDefault);
  EXPECT_FALSE(config.limits.max_buffered);
  EXPECT_EQ(config.drain_timeout, 30s);
}

TEST(ConfigLoader, NamesTheFileInItsMistakes) {
  const auto missing = loadConfig("/nonexistent/p.yaml");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message,
            "/nonexistent/p.yaml: cannot read it: No such file or directory");
}

TEST(ConfigLoader, TellsAllMistakesAtOnce) {
  EXPECT_EQ(
      complaint(minimalText("max_streams: 0", "timeout: 5", "concurrency_target: 0")),
      "p.yaml:7:18: listeners[].routes[].timeout: expected a duration from 1ms to 24h with its "
      "unit (ns, us, ms, s, m, h), such as 30s, got \"5\"\n"
      "p.yaml:8:18: listeners[].max_streams: expected a whole number from 1 to 100000, got \"0\"\n"
      "p.yaml:12:25: clusters[].concurrency_target: expected a whole number from 1 to 1000000, "
      "got \"0\"");
}

}  // namespace
}  // namespace penstock::proxy
