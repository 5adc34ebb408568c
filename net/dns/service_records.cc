#include "net/dns/service_records.h"

#include <algorithm>
#include <memory>

#include <ares.h>
#include <arpa/nameser.h>

namespace penstock::net {
namespace {

// c-ares does not tell the time to live of SRV records.
Duration shortestTtl(std::span<const unsigned char> message) {
  Duration shortest = Duration::max();
  ns_msg parsed{};
  if (ns_initparse(message.data(), static_cast<int>(message.size()), &parsed) != 0) {
    return Duration::zero();
  }
  for (int i = 0; i < ns_msg_count(parsed, ns_s_an); ++i) {
    ns_rr record{};
    if (ns_parserr(&parsed, ns_s_an, i, &record) != 0) {
      return Duration::zero();
    }
    shortest = std::min<Duration>(shortest, std::chrono::seconds(ns_rr_ttl(record)));
  }
  return shortest;
}

}  // namespace

Result<ServiceRecords> ServiceRecords::parse(std::span<const unsigned char> message,
                                             std::size_t max) {
  ares_srv_reply* first = nullptr;
  const int status = ares_parse_srv_reply(message.data(), static_cast<int>(message.size()), &first);
  if (status == ARES_ENODATA) {
    return ServiceRecords{};
  }
  if (status != ARES_SUCCESS) {
    return failure(ares_strerror(status));
  }
  const std::unique_ptr<ares_srv_reply, void (*)(void*)> owned(first, &ares_free_data);
  unsigned short best = 0xffff;
  for (const ares_srv_reply* record = first; record != nullptr; record = record->next) {
    best = std::min(best, record->priority);
  }
  ServiceRecords records{.targets = {}, .ttl = shortestTtl(message)};
  for (const ares_srv_reply* record = first; record != nullptr; record = record->next) {
    Target target{.host = record->host, .port = record->port};
    // A target "." says that the service is not offered.
    if (record->priority == best && !target.host.empty() && target.host != "." &&
        records.targets.size() < max &&
        std::ranges::find(records.targets, target) == records.targets.end()) {
      records.targets.push_back(std::move(target));
    }
  }
  return records;
}

}  // namespace penstock::net
