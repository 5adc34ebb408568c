#include "proxy/start_files.h"

#include <string>

#include "net/tls.h"
#include "proxy/admin/change_access.h"
#include "proxy/tls_files.h"

namespace penstock::proxy {
namespace {

Result<void> named(const char* kind, const std::string& name, const Error& error) {
  return failure(std::string(kind) + " \"" + name + "\": " + error.message);
}

}  // namespace

Result<void> checkStartFiles(const Config& config, const Clock& clock) {
  for (const ListenerConfig& listener : config.listeners) {
    if (listener.tls) {
      const auto tls = net::TlsContext::server({.certificate_file = listener.tls->certificate,
                                                .private_key_file = listener.tls->private_key,
                                                .client_ca_file = listener.tls->client_ca},
                                               clock);
      if (!tls) {
        return named("listener", listener.name, tls.error());
      }
    }
  }
  for (const ClusterConfig& cluster : config.clusters) {
    if (cluster.tls) {
      const auto tls = net::TlsContext::client(tlsOptions(cluster));
      if (!tls) {
        return named("cluster", cluster.name, tls.error());
      }
    }
  }
  if (!config.admin.token_file.empty()) {
    if (const auto token = readToken(config.admin.token_file); !token) {
      return failure("admin: " + token.error().message);
    }
  }
  return {};
}

}  // namespace penstock::proxy
