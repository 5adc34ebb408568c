#include "proxy/tls_files.h"

#include <string>
#include <utility>

namespace penstock::proxy {
namespace {

// "_http._tcp.models.test." → "models.test". Names in certificates have no final dot.
std::string hostOf(std::string name) {
  while (name.starts_with('_')) {
    const std::size_t dot = name.find('.');
    name.erase(0, dot == std::string::npos ? name.size() : dot + 1);
  }
  if (name.ends_with('.')) {
    name.pop_back();
  }
  return name;
}

}  // namespace

net::TlsContext::ClientOptions tlsOptions(const ClusterConfig& cluster) {
  const auto* dns = std::get_if<DnsReplicas>(&cluster.replicas);
  const std::string& configured = cluster.tls->server_name;
  return {.ca_file = cluster.tls->ca,
          .server_name = hostOf(configured.empty() && dns != nullptr ? dns->name : configured),
          .offer_h2 = cluster.protocol != UpstreamProtocol::kHttp1,
          .offer_http1 = cluster.protocol != UpstreamProtocol::kHttp2};
}

Result<std::vector<RenewedTls>> readTlsFiles(
    const std::vector<std::unique_ptr<ListenerShared>>& listeners,
    const std::vector<std::unique_ptr<Cluster>>& clusters,
    const std::vector<std::unique_ptr<net::TlsContext>>& cluster_tls) {
  struct Owned {
    std::string owner;
    net::TlsContext* context;
  };
  std::vector<Owned> contexts;
  for (const auto& listener : listeners) {
    contexts.push_back({"listener \"" + listener->config().name + "\"", listener->tls()});
  }
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    contexts.push_back({"cluster \"" + clusters[i]->name() + "\"", cluster_tls[i].get()});
  }
  std::vector<RenewedTls> renewed;
  for (const Owned& one : contexts) {
    if (one.context == nullptr) {
      continue;
    }
    auto native = one.context->readAgain();
    if (!native) {
      return failure(one.owner + ": " + native.error().message);
    }
    renewed.push_back({.context = one.context, .native = std::move(*native)});
  }
  return renewed;
}

}  // namespace penstock::proxy
