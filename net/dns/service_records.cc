#include "net/dns/service_records.h"

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

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
  ServiceRecords records{.targets = {}, .ttl = shortestTtl(message)};
  auto& targets = records.targets;
  for (const ares_srv_reply* record = first; record != nullptr; record = record->next) {
    Target target{.host = record->host, .port = record->port, .priority = record->priority};
    // A target "." says that the service is not offered.
    if (!target.host.empty() && target.host != ".") {
      targets.push_back(std::move(target));
    }
  }
  // The order of an answer may be another each time; what is left out is not to be.
  std::ranges::sort(targets, {}, [](const Target& target) {
    return std::tie(target.priority, target.host, target.port);
  });
  std::set<std::pair<std::string, std::uint16_t>> seen;
  std::erase_if(targets, [&](const Target& target) {
    return !seen.emplace(target.host, target.port).second;
  });
  records.cut = targets.size() > max;
  targets.resize(std::min(targets.size(), max));
  return records;
}

}  // namespace penstock::net
