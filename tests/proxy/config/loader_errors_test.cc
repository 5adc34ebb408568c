#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proxy/config/config_text.h"

// One test for each kind of mistake: it is found, at its line and column, and the message says what
// was expected there.
namespace penstock::proxy {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(ConfigErrors, NothingAtAll) {
  EXPECT_EQ(complaint(""), "p.yaml:1:1: expected a mapping, got nothing");
  EXPECT_EQ(complaint("{}"),
            "p.yaml:1:1: expected the key \"listeners\", which is missing\n"
            "p.yaml:1:1: expected the key \"clusters\", which is missing");
  EXPECT_EQ(complaint("{listeners: [], clusters: []}"),
            "p.yaml:1:13: listeners: expected at least one listener\n"
            "p.yaml:1:27: clusters: expected at least one cluster");
}

TEST(ConfigErrors, NotYaml) {
  EXPECT_THAT(complaint("listeners: [\nclusters: []"),
              testing::ContainsRegex("^p.yaml:[12]:[0-9]+: not YAML"));
}

TEST(ConfigErrors, UnknownKey) {
  EXPECT_EQ(complaint(minimalText("adress: x")),
            "p.yaml:7:5: listeners[]: unknown key \"adress\"; did you mean \"address\"?");
  EXPECT_THAT(
      complaint(minimalText("", "", "predict_concurrency: 2")),
      StartsWith("p.yaml:10:5: clusters[]: unknown key \"predict_concurrency\"; expected one of "));
  EXPECT_THAT(complaint(minimalText("", "", "", "admin: {port: 1}")),
              StartsWith("p.yaml:10:9: admin: unknown key \"port\""));
}

TEST(ConfigErrors, DuplicateKey) {
  EXPECT_EQ(complaint(minimalText("name: again")),
            "p.yaml:7:5: duplicate key \"name\", first on line 2");
}

TEST(ConfigErrors, WrongUnit) {
  EXPECT_EQ(complaint(minimalText("idle_timeout: 5 s")),
            "p.yaml:7:19: listeners[].idle_timeout: expected a duration from 1ms to 24h with its "
            "unit (ns, "
            "us, ms, s, m, h), such as 30s, got \"5 s\"");
  EXPECT_EQ(complaint(minimalText("", "request_buffer: 1MB")),
            "p.yaml:7:25: listeners[].routes[].request_buffer: expected a size from 1B to 1GiB "
            "with its "
            "unit (B, KiB, MiB, GiB), such as 64KiB, got \"1MB\"");
}

TEST(ConfigErrors, OutOfRange) {
  EXPECT_EQ(
      complaint(minimalText("", "", "concurrency_target: 0")),
      "p.yaml:10:25: clusters[].concurrency_target: expected a whole number from 1 to 1000000, got "
      "\"0\"");
  EXPECT_EQ(
      complaint(minimalText("", "", "concurrency_target: -1")),
      "p.yaml:10:25: clusters[].concurrency_target: expected a whole number from 1 to 1000000, got "
      "\"-1\"");
}

TEST(ConfigErrors, WrongType) {
  EXPECT_EQ(complaint(minimalText("", "idempotent: yes")),
            "p.yaml:7:21: listeners[].routes[].idempotent: expected true or false, got \"yes\"");
  EXPECT_EQ(complaint(minimalText("tls: true")),
            "p.yaml:7:10: listeners[].tls: expected a mapping, got \"true\"");
  EXPECT_EQ(complaint("{listeners: {}, clusters: 1}"),
            "p.yaml:1:13: listeners: expected a sequence, got a mapping\n"
            "p.yaml:1:27: clusters: expected a sequence, got \"1\"");
  EXPECT_EQ(complaint(minimalText("", "", "protocol: h3")),
            "p.yaml:10:15: clusters[].protocol: expected one of auto, h2, http1, got \"h3\"");
  EXPECT_EQ(complaint(minimalText("", "", "on_client_gone: shrug")),
            "p.yaml:10:21: clusters[].on_client_gone: expected one of wait, reset, got \"shrug\"");
  EXPECT_EQ(complaint(minimalText("", "", "", "access_log: {format: xml}")),
            "p.yaml:10:22: access_log.format: expected one of default, json, got \"xml\"");
}

TEST(ConfigErrors, OctalLookingNumber) {
  EXPECT_EQ(complaint(minimalText("max_streams: 010")),
            "p.yaml:7:18: listeners[].max_streams: expected a whole number from 1 to 100000, got "
            "\"010\"");
}

TEST(ConfigErrors, EmptyText) {
  EXPECT_EQ(complaint(minimalText("", "", "", "access_log: {path: ''}")),
            "p.yaml:10:20: access_log.path: expected a string that is not empty");
}

TEST(ConfigErrors, MissingKey) {
  EXPECT_EQ(complaint("listeners:\n  - {}\nclusters:\n  - {}\n"),
            "p.yaml:2:5: listeners[]: expected the key \"name\", which is missing\n"
            "p.yaml:2:5: listeners[]: expected the key \"address\", which is missing\n"
            "p.yaml:2:5: listeners[]: expected the key \"routes\", which is missing\n"
            "p.yaml:4:5: clusters[]: expected the key \"name\", which is missing\n"
            "p.yaml:4:5: clusters[]: expected the key \"replicas\", which is missing");
}

TEST(ConfigErrors, BadName) {
  EXPECT_EQ(
      complaint("listeners: [{name: 'a b'}]\nclusters: [{name: ''}]"),
      "p.yaml:1:13: listeners[]: expected the key \"address\", which is missing\n"
      "p.yaml:1:13: listeners[]: expected the key \"routes\", which is missing\n"
      "p.yaml:1:20: listeners[].name: expected a name: 1 to 128 letters, digits, dots, "
      "underscores, "
      "slashes or hyphens\n"
      "p.yaml:2:12: clusters[]: expected the key \"replicas\", which is missing\n"
      "p.yaml:2:19: clusters[].name: expected a name: 1 to 128 letters, digits, dots, underscores, "
      "slashes or hyphens");
}

TEST(ConfigErrors, DuplicateName) {
  EXPECT_EQ(complaint(minimalText() + "  - {name: m, replicas: {static: [127.0.0.1:1]}}\n"),
            "p.yaml:10:12: clusters[].name: expected a name of its own; \"m\" is taken");
  EXPECT_EQ(
      complaint("clusters: [{name: m, replicas: {static: [127.0.0.1:1]}}]\n"
                "listeners:\n"
                "  - {name: a, address: 127.0.0.1:0, routes: [{prefix: /, cluster: m}]}\n"
                "  - {name: a, address: 127.0.0.1:0, routes: [{prefix: /, cluster: m}]}\n"
                "  - {name: admin, address: 127.0.0.1:0, routes: [{prefix: /, cluster: m}]}\n"),
      "p.yaml:4:12: listeners[].name: expected a name of its own; \"a\" is taken\n"
      "p.yaml:5:12: listeners[].name: expected a name of its own; \"admin\" is taken");
}

TEST(ConfigErrors, BadAddress) {
  for (const char* address :
       {"localhost", "10.0.0.1", "10.0.0.1:70000", "':8080'", "host:80", "''"}) {
    EXPECT_THAT(
        complaint(minimalText("", "", "", "admin: {address: " + std::string(address) + "}")),
        StartsWith("p.yaml:10:18: admin.address: expected ip:port, such as 127.0.0.1:8080"))
        << address;
  }
}

TEST(ConfigErrors, AddressTaken) {
  const std::string route = "routes: [{prefix: /, cluster: m}]";
  EXPECT_EQ(
      complaint("clusters: [{name: m, replicas: {static: [127.0.0.1:1]}}]\n"
                "listeners:\n"
                "  - {name: a, address: 127.0.0.1:80, " +
                route +
                "}\n"
                "  - {name: b, address: 127.0.0.1:80, " +
                route +
                "}\n"
                "  - {name: c, address: 127.0.0.1:9901, " +
                route + "}\n"),
      "p.yaml:4:24: listeners[].address: expected an address of its own; 127.0.0.1:80 is taken by "
      "listener \"a\"\n"
      "p.yaml:5:24: listeners[].address: expected an address of its own; 127.0.0.1:9901 is taken "
      "by "
      "the admin server");
}

TEST(ConfigErrors, TheExternalScalersAddress) {
  EXPECT_EQ(complaint(minimalText("", "", "", "external_scaler: {}")),
            "p.yaml:10:18: external_scaler: expected the key \"address\", which is missing");
  EXPECT_THAT(complaint(minimalText("", "", "", "external_scaler: {address: keda}")),
              StartsWith("p.yaml:10:28: external_scaler.address: expected ip:port"));
  EXPECT_EQ(complaint(minimalText("", "", "", "external_scaler: {address: 127.0.0.1:9901}")),
            "p.yaml:10:28: external_scaler.address: expected an address of its own; "
            "127.0.0.1:9901 is taken by the admin server");
  EXPECT_EQ(complaint("external_scaler: {address: 127.0.0.1:80}\n"
                      "clusters: [{name: m, replicas: {static: [127.0.0.1:1]}}]\n"
                      "listeners:\n"
                      "  - {name: a, address: 127.0.0.1:80, routes: [{prefix: /, cluster: m}]}\n"),
            "p.yaml:4:24: listeners[].address: expected an address of its own; 127.0.0.1:80 is "
            "taken by the external scaler");
}

TEST(ConfigErrors, HalfATlsPair) {
  EXPECT_EQ(complaint(minimalText("tls: {certificate: a.crt}")),
            "p.yaml:7:10: listeners[].tls: expected the key \"private_key\", which is missing");
  EXPECT_EQ(complaint(minimalText("tls: {private_key: a.key}")),
            "p.yaml:7:10: listeners[].tls: expected the key \"certificate\", which is missing");
}

TEST(ConfigErrors, StreamWindowLargerThanItsConnections) {
  EXPECT_EQ(complaint(minimalText("stream_window: 8MiB")),
            "p.yaml:7:20: listeners[].stream_window: expected stream_window to be at most "
            "connection_window");
  EXPECT_EQ(complaint(minimalText("connection_window: 64KiB")),
            "p.yaml:7:24: listeners[].connection_window: expected stream_window to be at most "
            "connection_window");
}

TEST(ConfigErrors, NoRangeOfAddresses) {
  EXPECT_EQ(complaint(minimalText("trusted_proxies: [10.0.0.0/33]")),
            "p.yaml:7:23: listeners[].trusted_proxies[]: expected addresses like 10.0.0.0/8, "
            "fd00::/8 or 10.0.0.1, got \"10.0.0.0/33\"");
  EXPECT_EQ(complaint(minimalText("trusted_proxies: [10.1.2.3/8]")),
            "p.yaml:7:23: listeners[].trusted_proxies[]: expected no bits behind the prefix; "
            "10.1.2.3/8 is in 10.0.0.0/8");
  EXPECT_THAT(complaint(minimalText("half_close: maybe")), HasSubstr("answer"));
}

TEST(ConfigErrors, NoRoutes) {
  EXPECT_EQ(complaint("clusters: [{name: m, replicas: {static: [127.0.0.1:1]}}]\n"
                      "listeners: [{name: a, address: 127.0.0.1:80, routes: []}]\n"),
            "p.yaml:2:54: listeners[].routes: expected at least one route");
}

TEST(ConfigErrors, RouteToNoCluster) {
  EXPECT_EQ(
      complaint("listeners: [{name: a, address: 127.0.0.1:80, routes: [{prefix: /, cluster: n}]}]\n"
                "clusters:\n"
                "  - {name: m, replicas: {static: [127.0.0.1:1]}}\n"
                "  - {name: o, replicas: {static: [127.0.0.1:1]}}\n"),
      "p.yaml:1:76: listeners[].routes[].cluster: expected the name of a cluster (m, o), got "
      "\"n\"");
}

TEST(ConfigErrors, BadPrefix) {
  const auto withPrefix = [](const std::string& prefix) {
    return complaint(
        "clusters: [{name: m, replicas: {static: [127.0.0.1:1]}}]\n"
        "listeners: [{name: a, address: 127.0.0.1:80, routes: [{prefix: " +
        prefix + ", cluster: m}]}]\n");
  };
  EXPECT_EQ(
      withPrefix("v1"),
      "p.yaml:2:64: listeners[].routes[].prefix: expected a path that begins with /, got \"v1\"");
  for (const char* prefix : {"'/a b'", "'/a?b'", "'/a#b'", "'/a\\b'", "/é"}) {
    EXPECT_THAT(withPrefix(prefix),
                HasSubstr("p.yaml:2:64: listeners[].routes[].prefix: expected a path "
                          "without"))
        << prefix;
  }
}

TEST(ConfigErrors, BadHost) {
  for (const char* host : {"'a b'", "a.com:80", "'*'", "'a.*.com'", "'*a.com'", "''", ".a.com",
                           "a..com", "https://a.com", "'[::1'"}) {
    EXPECT_THAT(
        complaint(minimalText("", "hosts: [" + std::string(host) + "]")),
        StartsWith(
            "p.yaml:7:17: listeners[].routes[].hosts[]: expected a host name without a port"))
        << host;
  }
  EXPECT_EQ(
      complaint(minimalText("", "hosts: [a.com, A.com]")),
      "p.yaml:7:24: listeners[].routes[].hosts[]: expected each host once, got \"A.com\" again");
  EXPECT_EQ(complaint(minimalText("", "hosts: []")),
            "p.yaml:7:16: listeners[].routes[].hosts: expected at least one host; leave the key "
            "out for any "
            "host");
  EXPECT_EQ(complaint(minimalText("", "hosts: [a.com, '*.b.com', '[::1]', 10.0.0.1]")), "");
}

TEST(ConfigErrors, TwoRoutesForTheSame) {
  EXPECT_EQ(complaint("clusters: [{name: m, replicas: {static: [127.0.0.1:1]}}]\n"
                      "listeners:\n"
                      "  - name: a\n"
                      "    address: 127.0.0.1:80\n"
                      "    routes:\n"
                      "      - {prefix: /a, cluster: m}\n"
                      "      - {prefix: /a, hosts: [x.com, y.com], cluster: m}\n"
                      "      - {prefix: /b, hosts: [y.com], cluster: m}\n"
                      "      - {prefix: /a, hosts: [Y.com, z.com], cluster: m}\n"
                      "      - {prefix: /a, cluster: m}\n"),
            "p.yaml:9:9: listeners[].routes[]: expected one route for y.com and prefix /a; the "
            "first is at "
            "p.yaml:7:9\n"
            "p.yaml:10:9: listeners[].routes[]: expected one route for any host and prefix /a; the "
            "first is "
            "at p.yaml:6:9");
}

std::string withReplicas(const std::string& replicas) {
  return complaint(
      "listeners: [{name: a, address: 127.0.0.1:80, routes: [{prefix: /, cluster: m}]}]\n"
      "clusters: [{name: m, replicas: " +
      replicas + "}]\n");
}

TEST(ConfigErrors, NoOrTwoSourcesOfReplicas) {
  EXPECT_EQ(withReplicas("{}"),
            "p.yaml:2:32: clusters[].replicas: expected one of static, process and dns");
  EXPECT_EQ(withReplicas("{static: [127.0.0.1:1], process: {command: [a, '{address}']}}"),
            "p.yaml:2:32: clusters[].replicas: expected one of static, process and dns");
}

TEST(ConfigErrors, BadStaticReplicas) {
  EXPECT_EQ(withReplicas("{static: []}"),
            "p.yaml:2:41: clusters[].replicas.static: expected at least one address");
  EXPECT_EQ(withReplicas("{static: [127.0.0.1:0]}"),
            "p.yaml:2:42: clusters[].replicas.static[]: expected a port from 1 to 65535, got 0");
  EXPECT_EQ(withReplicas("{static: [127.0.0.1:1, 127.0.0.1:1]}"),
            "p.yaml:2:55: clusters[].replicas.static[]: expected each replica once, got "
            "127.0.0.1:1 again");
  EXPECT_THAT(withReplicas("{static: [nowhere]}"),
              StartsWith("p.yaml:2:42: clusters[].replicas.static[]: expected ip:port"));
}

std::string withDns(const std::string& keys) {
  return withReplicas("{dns: {name: n, port: 1, " + keys + "}}");
}

TEST(ConfigErrors, ResolversAreNoNames) {
  const auto expected = [](const std::string& got) {
    return "p.yaml:2:69: clusters[].replicas.dns.resolvers[]: expected the IP address of a name "
           "server, with its port if that is not 53, such as 10.96.0.10, 10.96.0.10:5353 or "
           "[fd00::a]:53, got \"" +
           got + "\"";
  };
  for (const char* wrong : {"localhost:53", "localhost", "dns.test:53", "10.0.0.10:", "10.0.0",
                            "10.0.0.10:70000", "10.0.0.10:0", "fd00::a:b:c:d:e:f:53:1"}) {
    EXPECT_EQ(withDns("resolvers: ['" + std::string(wrong) + "']"), expected(wrong));
  }
  EXPECT_EQ(withDns("resolvers: ['[fd00::x]:53']"), expected("[fd00::x]:53"));
}

TEST(ConfigErrors, BoundsOfRefreshThatContradictEachOther) {
  EXPECT_EQ(withDns("min_refresh: 2s, max_refresh: 1s"),
            "p.yaml:2:87: clusters[].replicas.dns.max_refresh: expected at least min_refresh (2s), "
            "got 1s");
  EXPECT_EQ(withDns("max_refresh: 500ms"),
            "p.yaml:2:70: clusters[].replicas.dns.max_refresh: expected at least min_refresh (1s), "
            "got 500ms");
}

TEST(ConfigErrors, BadCommand) {
  EXPECT_EQ(
      withReplicas("{process: {}}"),
      "p.yaml:2:42: clusters[].replicas.process: expected the key \"command\", which is missing");
  EXPECT_EQ(
      withReplicas("{process: {command: []}}"),
      "p.yaml:2:52: clusters[].replicas.process.command: expected a program and its arguments");
  EXPECT_EQ(withReplicas("{process: {command: [sidecar]}}"),
            "p.yaml:2:52: clusters[].replicas.process.command: expected an argument with "
            "{address}, which "
            "tells the replica where to listen");
  EXPECT_EQ(withReplicas("{process: {command: sidecar}}"),
            "p.yaml:2:52: clusters[].replicas.process.command: expected a sequence of strings, got "
            "\"sidecar\"");
}

TEST(ConfigErrors, BadHealthCheckPath) {
  EXPECT_EQ(complaint(minimalText("", "", "health_check: {path: /up, grpc: m}")),
            "p.yaml:10:37: clusters[].health_check.grpc: expected one of path and grpc");
  EXPECT_EQ(
      complaint(minimalText("", "", "health_check: {path: up}")),
      "p.yaml:10:26: clusters[].health_check.path: expected a path that begins with /, got \"up\"");
}

TEST(ConfigErrors, FewerReplicasAtMostThanAtLeast) {
  EXPECT_EQ(
      complaint("listeners: [{name: a, address: 127.0.0.1:80, routes: [{prefix: /, cluster: m}]}]\n"
                "clusters:\n"
                "  - name: m\n"
                "    replicas: {process: {command: [a, '{address}']}}\n"
                "    autoscaling: {min_replicas: 3, max_replicas: 2}\n"),
      "p.yaml:5:50: clusters[].autoscaling.max_replicas: expected at least min_replicas (3), got "
      "2");
}

}  // namespace
}  // namespace penstock::proxy
