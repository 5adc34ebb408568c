#include "net/dns/dns_lookup.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <utility>

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include "base/check.h"
#include "net/dns/found_address.h"

namespace penstock::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kAtOnce = 16;  // targets; two questions each
constexpr std::size_t kMaxAddresses = FoundAddresses::kMaxAddresses;
constexpr const char* kTooLate = "no answer in time";

// c-ares says this where a name has nothing of what was asked for.
bool saysNothingThere(int status) {
  return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_ENONAME;
}

std::string why(int status) {
  return status == ARES_ECANCELLED || status == ARES_ETIMEOUT ? kTooLate : ares_strerror(status);
}

bool isWhole(std::string_view name) {
  return name.ends_with('.');
}

}  // namespace

// The addresses of one family.
struct DnsLookup::Part {
  Target& target;
  int family;
  std::vector<Address> addresses{};
  std::string failure{};  // under the name that is asked for
  std::string earlier_failure{};
};

// What is looked up under one name after the other, until there is something.
struct DnsLookup::Target {
  // kAgain: the name that is asked for is to be asked for again.
  enum class State { kNext, kAgain, kOver };

  bool over() const { return state == State::kOver; }
  bool found() const {
    return std::ranges::any_of(parts, [](const Part& part) { return !part.addresses.empty(); });
  }
  bool failed() const {
    return std::ranges::any_of(parts, [](const Part& part) { return !part.failure.empty(); });
  }
  DnsLookup& lookup;
  std::string question;
  std::uint16_t port;
  std::vector<std::string> names;
  std::size_t asked = 0;  // of the names
  int open = 0;           // questions
  State state = State::kNext;
  std::vector<Part> parts{};
};

Result<std::unique_ptr<DnsLookup>> DnsLookup::make(EventLoop& loop, Options options) {
  std::unique_ptr<DnsLookup> lookup(new DnsLookup(loop, std::move(options)));
  if (auto opened = lookup->open(); !opened) {
    return std::unexpected(opened.error());
  }
  return lookup;
}

DnsLookup::DnsLookup(EventLoop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      channel_(loop),
      deadline_(loop, [this] { onDeadline(); }),
      step_(loop, [this] { step(); }) {}

DnsLookup::~DnsLookup() = default;

Result<void> DnsLookup::open() {
  if (auto opened = channel_.open(options_.servers); !opened) {
    return opened;
  }
  nameCandidates();
  const std::size_t questions = names_.size() + (options_.srv ? 1 : 0);
  return channel_.limit(options_.timeout / static_cast<std::int64_t>(questions));
}

// c-ares would go through the search domains for each family apart, and might end at two names; and
// it would stop at a domain that nobody can say anything about.
void DnsLookup::nameCandidates() {
  const std::string& name = options_.name;
  if (isWhole(name) || name == "localhost") {
    names_ = {name};
    return;
  }
  names_ = {name + "."};
  std::vector<std::string> in_domains;
  for (const std::string& domain : channel_.domains()) {
    if (!domain.empty() && domain != ".") {
      in_domains.push_back(fmt::format("{}.{}{}", name, domain, isWhole(domain) ? "" : "."));
    }
  }
  const bool whole_first = std::ranges::count(name, '.') >= channel_.dots();
  names_.insert(whole_first ? names_.end() : names_.begin(), in_domains.begin(), in_domains.end());
}

void DnsLookup::start(Done done) {
  PENSTOCK_CHECK(!done_, "one lookup at a time");
  done_ = std::move(done);
  addresses_ = 0;
  cut_ = false;
  refused_.clear();
  ttl_ = Duration::max();
  services_asked_ = 0;
  services_failure_.clear();
  services_.clear();
  stage_ = options_.srv ? Stage::kServices : Stage::kAddresses;
  deadline_.armAfter(options_.timeout);
  if (!options_.srv) {
    Target& target = addTarget(options_.name, options_.port, names_);
    for (Part& part : target.parts) {
      takeLocal(part);
    }
    target.state = target.found() ? Target::State::kOver : Target::State::kNext;
  }
  step_.arm(loop_.now());
}

DnsLookup::Target& DnsLookup::addTarget(std::string question, std::uint16_t port,
                                        std::vector<std::string> names) {
  targets_.push_back(std::unique_ptr<Target>(new Target{
      .lookup = *this, .question = std::move(question), .port = port, .names = std::move(names)}));
  Target& target = *targets_.back();
  // They stay where they are: c-ares has their addresses.
  if (options_.ipv4) {
    target.parts.push_back({.target = target, .family = AF_INET});
  }
  if (options_.ipv6) {
    target.parts.push_back({.target = target, .family = AF_INET6});
  }
  return target;
}

// The name may be an address, or in the hosts file.
void DnsLookup::takeLocal(Part& part) {
  std::array<std::uint8_t, sizeof(in6_addr)> raw{};
  hostent* host = nullptr;
  if (::inet_pton(part.family, options_.name.c_str(), raw.data()) == 1) {
    take(part, raw.data(), 0s);
  } else if (ares_gethostbyname_file(channel_.get(), options_.name.c_str(), part.family, &host) ==
             ARES_SUCCESS) {
    for (char** address = host->h_addr_list; *address != nullptr; ++address) {
      take(part, *address, 0s);
    }
    ares_free_hostent(host);
  }
}

void DnsLookup::step() {
  if (channel_.stale()) {
    if (open_ > 0) {
      return;  // The last of them comes back here.
    }
    channel_.renew();
  }
  if (stage_ == Stage::kServices) {
    stepServices();
  } else {
    stepAddresses();
  }
}

void DnsLookup::stepServices() {
  if (open_ > 0) {
    return;
  }
  if (services_asked_ == names_.size()) {
    finish();
    return;
  }
  const std::string& name = names_[services_asked_++];
  ++open_;
  ares_query(channel_.get(), name.c_str(), ns_c_in, ns_t_srv, &DnsLookup::onServices, this);
  channel_.process();
}

void DnsLookup::onServices(void* self, int status, int timeouts, unsigned char* answer,
                           int size) noexcept {
  if (status == ARES_EDESTRUCTION) {
    return;
  }
  auto& lookup = *static_cast<DnsLookup*>(self);
  --lookup.open_;
  lookup.step_.arm(lookup.loop_.now());
  if (lookup.channel_.noteAnswer(status, timeouts)) {
    --lookup.services_asked_;
    return;
  }
  lookup.takeServices(status, {answer, static_cast<std::size_t>(size)});
}

void DnsLookup::takeServices(int status, std::span<const unsigned char> answer) {
  const std::string& name = names_[services_asked_ - 1];
  if (saysNothingThere(status)) {
    return;
  }
  std::string failure = status == ARES_SUCCESS ? "" : why(status);
  if (status == ARES_SUCCESS) {
    if (auto records = ServiceRecords::parse(answer, kMaxAddresses)) {
      ttl_ = std::min(ttl_, records->ttl);
      services_ = std::move(records->targets);
      cut_ = records->cut;
      services_failure_.clear();
      settled_name_ = name;
      stage_ = Stage::kAddresses;
      return;
    } else {
      failure = records.error().message;
    }
  }
  services_failure_ = failure;
  if (name == settled_name_) {
    services_asked_ = names_.size();
  }
}

// Those of the best priority that are not asked for yet. False: there are none.
bool DnsLookup::addNextPriority() {
  if (services_.empty() || stage_ == Stage::kTooLate) {
    return false;
  }
  const auto end = std::ranges::upper_bound(services_, services_.front().priority, {},
                                            &ServiceRecords::Target::priority);
  for (auto service = services_.begin(); service != end; ++service) {
    addTarget(fmt::format("{}:{}", service->host, service->port), service->port,
              {service->host + "."});
  }
  services_.erase(services_.begin(), end);
  return true;
}

void DnsLookup::stepAddresses() {
  std::size_t active = 0;
  do {
    for (const auto& target : targets_) {
      if (target->open == 0 && !target->over() && active < kAtOnce) {
        ask(*target);
      }
      active += target->over() ? 0 : 1;
    }
  } while (active == 0 && addresses_ == 0 && addNextPriority());
  channel_.process();
  if (active == 0) {
    finish();
  }
}

void DnsLookup::ask(Target& target) {
  const std::string& name = target.names[target.asked++];
  target.open = static_cast<int>(target.parts.size());
  open_ += target.open;
  for (Part& part : target.parts) {
    if (!part.failure.empty()) {
      part.earlier_failure = std::exchange(part.failure, {});
    }
    ares_addrinfo_hints hints{};
    hints.ai_family = part.family;
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel_.get(), name.c_str(), nullptr, &hints, &DnsLookup::onAddresses, &part);
  }
}

void DnsLookup::onAddresses(void* its_part, int status, int timeouts,
                            ares_addrinfo* found) noexcept {
  if (status == ARES_EDESTRUCTION) {
    return;
  }
  auto& part = *static_cast<Part*>(its_part);
  DnsLookup& lookup = part.target.lookup;
  if (lookup.channel_.noteAnswer(status, timeouts)) {
    part.target.state = Target::State::kAgain;
  } else if (status == ARES_SUCCESS) {
    lookup.takeFound(part, *found);
  } else if (!saysNothingThere(status)) {
    part.failure = why(status);
  }
  if (found != nullptr) {
    ares_freeaddrinfo(found);
  }
  --lookup.open_;
  if (--part.target.open == 0) {
    lookup.settle(part.target);
  }
  lookup.step_.arm(lookup.loop_.now());
}

void DnsLookup::takeFound(Part& part, const ares_addrinfo& found) {
  int ttl = std::numeric_limits<int>::max();
  for (const ares_addrinfo_cname* alias = found.cnames; alias != nullptr; alias = alias->next) {
    ttl = std::min(ttl, alias->ttl);
  }
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(*node->ai_addr);
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(*node->ai_addr);
    const void* raw = node->ai_family == AF_INET ? static_cast<const void*>(&v4.sin_addr)
                                                 : static_cast<const void*>(&v6.sin6_addr);
    take(part, raw, std::chrono::seconds(std::max(std::min(ttl, node->ai_ttl), 0)));
  }
}

// All questions about one of the target's names are answered.
void DnsLookup::settle(Target& target) {
  const std::string& name = target.names[target.asked - 1];
  if (target.state == Target::State::kAgain) {
    target.state = Target::State::kNext;
    --target.asked;
    for (Part& part : target.parts) {
      addresses_ -= part.addresses.size();
      part.addresses.clear();
      part.failure.clear();
    }
    return;
  }
  if (target.found()) {
    target.state = Target::State::kOver;
    if (!options_.srv) {
      settled_name_ = name;
    }
    return;
  }
  if (target.asked < target.names.size() && !(target.failed() && name == settled_name_)) {
    return;
  }
  target.state = Target::State::kOver;
  for (Part& part : target.parts) {
    if (part.failure.empty()) {
      part.failure = part.earlier_failure;
    }
  }
}

void DnsLookup::take(Part& part, const void* raw, Duration ttl) {
  const Address address = foundAddress(part.family, raw, part.target.port);
  ttl_ = std::min(ttl_, ttl);
  if (const std::string why = whyNoServer(address); !why.empty()) {
    refused_.insert(fmt::format("{} ({})", address.toString(), why));
    if (refused_.size() > FoundAddresses::kMaxRefused) {
      refused_.erase(std::prev(refused_.end()));
    }
    return;
  }
  part.addresses.push_back(address);
  if (++addresses_ >= 2 * kMaxAddresses) {
    cut();
  }
}

// Leaves the first kMaxAddresses in order: the same of the same ones, in whatever order they come.
void DnsLookup::cut() {
  std::set<std::string> kept;
  for (const auto& target : targets_) {
    for (const Part& part : target->parts) {
      for (const Address& address : part.addresses) {
        kept.insert(address.toString());
        if (kept.size() > kMaxAddresses) {
          kept.erase(std::prev(kept.end()));
          cut_ = true;
        }
      }
    }
  }
  addresses_ = 0;
  for (const auto& target : targets_) {
    for (Part& part : target->parts) {
      std::erase_if(part.addresses,
                    [&](const Address& address) { return kept.erase(address.toString()) == 0; });
      addresses_ += part.addresses.size();
    }
  }
}

void DnsLookup::onDeadline() {
  if (stage_ == Stage::kServices) {
    services_failure_ = kTooLate;
  }
  stage_ = Stage::kTooLate;
  ares_cancel(channel_.get());
  for (const auto& target : targets_) {
    if (!target->over()) {
      target->state = Target::State::kOver;
      for (Part& part : target->parts) {
        part.failure = kTooLate;
      }
    }
  }
  step_.arm(loop_.now());
}

void DnsLookup::finish() {
  deadline_.disarm();
  if (addresses_ > kMaxAddresses) {
    cut();
  }
  Done done = std::exchange(done_, nullptr);
  if (targets_.empty() && !services_failure_.empty()) {
    return done(failure(services_failure_));
  }
  FoundAddresses result{.answers = {},
                        .refused = {refused_.begin(), refused_.end()},
                        .cut = cut_,
                        .ttl = addresses_ > 0 ? ttl_ : Duration::zero()};
  for (const auto& target : std::exchange(targets_, {})) {
    for (Part& part : target->parts) {
      result.answers.push_back(
          {.question = target->question + (part.family == AF_INET ? " A" : " AAAA"),
           .addresses = part.failure.empty()
                            ? Result<std::vector<Address>>(std::move(part.addresses))
                            : failure(part.failure)});
    }
  }
  done(std::move(result));
}

}  // namespace penstock::net
