#include "proxy/scaling/dns_provider.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFirstBackOff = 1s;
constexpr Duration kLongestBackOff = 30s;

}  // namespace

DnsProvider::DnsProvider(net::EventLoop& loop, const ClusterConfig& cluster,
                         std::unique_ptr<net::AddressLookup> lookup, ReplicaHealth& health,
                         Metrics& metrics, Logger& logger)
    : loop_(loop),
      cluster_(cluster.name),
      config_(std::get<DnsReplicas>(cluster.replicas)),
      logger_(logger),
      replicas_(health),
      jitter_(std::random_device{}()),
      refresh_(loop, [this] { lookUp(); }),
      lookup_(std::move(lookup)) {
  const auto counter = [&](const char* result) {
    return metrics.counter("penstock_dns_lookups_total", "Lookups of a cluster's name, by result.",
                           {{"cluster", cluster_}, {"result", result}});
  };
  answers_ = counter("addresses");
  partial_answers_ = counter("partial");
  empty_answers_ = counter("empty");
  failures_ = counter("failure");
  addresses_ = metrics.gauge("penstock_dns_addresses", "Addresses in the answer that is in effect.",
                             {{"cluster", cluster_}});
}

void DnsProvider::start() {
  lookUp();
}

void DnsProvider::stop(std::move_only_function<void()> stopped) {
  refresh_.disarm();
  lookup_.reset();
  loop_.post(std::move(stopped));
}

void DnsProvider::lookUp() {
  lookup_->start([this](Result<net::FoundAddresses> found) {
    refresh_.armAfter(found ? take(std::move(*found)) : failed(found.error().message));
  });
}

Duration DnsProvider::take(net::FoundAddresses found) {
  Answers answers;
  std::string why;
  std::size_t unanswered = 0;
  bool any = false;
  for (net::FoundAddresses::Answer& answer : found.answers) {
    if (answer.addresses) {
      any = any || !answer.addresses->empty();
      answers[answer.question] = std::move(*answer.addresses);
      continue;
    }
    if (++unanswered == 1) {
      why = fmt::format("{}: {}", answer.question, answer.addresses.error().message);
    }
    if (const auto last = last_good_.find(answer.question); last != last_good_.end()) {
      answers.insert(*last);
    }
  }
  if (unanswered > 1) {
    why += fmt::format("; and {} more", unanswered - 1);
  }
  noteTrouble(found);
  if (!any && unanswered > 0) {
    return failed(why);
  }
  if (std::exchange(back_off_, Duration::zero()) != Duration::zero()) {
    logger_.info("name found again", {{"cluster", cluster_}, {"name", config_.name}});
  }
  if (!any) {
    return takeEmpty();
  }
  empty_in_a_row_ = 0;
  notePart(why);
  putInEffect(std::move(answers));
  return std::clamp(found.ttl, config_.min_refresh, config_.max_refresh);
}

Duration DnsProvider::takeEmpty() {
  empty_answers_.add();
  if (++empty_in_a_row_ >= kEmptyAnswers) {
    putInEffect({});
  }
  return config_.min_refresh;
}

// why: empty if every question was answered.
void DnsProvider::notePart(const std::string& why) {
  (why.empty() ? answers_ : partial_answers_).add();
  const bool before = std::exchange(partial_, !why.empty());
  if (before == partial_) {
    return;
  }
  if (partial_) {
    logger_.warning("name found out in part; the last answer holds for the rest",
                    {{"cluster", cluster_}, {"name", config_.name}, {"why", why}});
  } else {
    logger_.info("name found out in whole again", {{"cluster", cluster_}, {"name", config_.name}});
  }
}

void DnsProvider::noteTrouble(const net::FoundAddresses& found) {
  std::string trouble;
  if (!found.refused.empty()) {
    trouble =
        fmt::format("the name leads to what can be no replica: {}", fmt::join(found.refused, ", "));
  }
  if (found.cut) {
    trouble += fmt::format("{}the name leads to too many addresses: the first {} in order are used",
                           trouble.empty() ? "" : "; ", net::FoundAddresses::kMaxAddresses);
  }
  if (std::exchange(trouble_, trouble) != trouble && !trouble.empty()) {
    logger_.warning("addresses left out",
                    {{"cluster", cluster_}, {"name", config_.name}, {"why", trouble}});
  }
}

void DnsProvider::putInEffect(Answers answers) {
  last_good_ = std::move(answers);
  std::map<std::string, net::Address> unique;
  for (const auto& [question, addresses] : last_good_) {
    for (const net::Address& address : addresses) {
      unique.emplace(address.toString(), address);
    }
  }
  std::vector<net::Address> wanted;
  for (const auto& [text, address] : unique) {
    wanted.push_back(address);
  }
  const std::size_t before = replicas_.size();
  const ReplicaSet::Change change = replicas_.set(wanted);
  addresses_.set(static_cast<double>(replicas_.size()));
  if (change.joined + change.left > 0) {
    logger_.info("addresses changed", {{"cluster", cluster_},
                                       {"name", config_.name},
                                       {"from", static_cast<std::int64_t>(before)},
                                       {"to", static_cast<std::int64_t>(replicas_.size())},
                                       {"joined", static_cast<std::int64_t>(change.joined)},
                                       {"left", static_cast<std::int64_t>(change.left)}});
  }
}

Duration DnsProvider::failed(const std::string& why) {
  failures_.add();
  empty_in_a_row_ = 0;
  if (back_off_ == Duration::zero()) {
    logger_.warning("name not found out; the last answer holds",
                    {{"cluster", cluster_},
                     {"name", config_.name},
                     {"why", why},
                     {"addresses", static_cast<std::int64_t>(replicas_.size())}});
    back_off_ = kFirstBackOff;
  } else {
    back_off_ = std::min(back_off_ * 2, kLongestBackOff);
  }
  // Between half of it and all of it, so that many proxies do not ask in step.
  return back_off_ / 2 +
         Duration(std::uniform_int_distribution<Duration::rep>(0, back_off_.count() / 2)(jitter_));
}

}  // namespace penstock::proxy
