#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "net/tls.h"
#include "proxy/cluster/cluster.h"
#include "proxy/listener_shared.h"

namespace penstock::proxy {

// TLS towards the replicas of a cluster that has it. Their certificates are verified against
// `server_name`, else the name behind which they are (of SRV records: without the service's
// labels), else their address.
net::TlsContext::ClientOptions tlsOptions(const ClusterConfig& cluster);

// A TLS context, and what its files hold now, for it to use.
struct RenewedTls {
  net::TlsContext* context;
  net::TlsContext::Native native;
};

// Reads the certificates, keys and CAs of all listeners and clusters again. cluster_tls: in the
// order of the clusters, null without TLS. The error says whose file cannot be used.
Result<std::vector<RenewedTls>> readTlsFiles(
    const std::vector<std::unique_ptr<ListenerShared>>& listeners,
    const std::vector<std::unique_ptr<Cluster>>& clusters,
    const std::vector<std::unique_ptr<net::TlsContext>>& cluster_tls);

}  // namespace penstock::proxy
