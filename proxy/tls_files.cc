#include "proxy/tls_files.h"

#include <string>
#include <utility>

namespace penstock::proxy {

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
