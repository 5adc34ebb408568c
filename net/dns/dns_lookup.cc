#include "net/dns/dns_lookup.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include "base/check.h"
#include "net/dns/service_records.h"

namespace penstock::net {
namespace {

using namespace std::chrono_literals;

constexpr int kTries = 2;            // of each server
constexpr std::size_t kAtOnce = 16;  // targets; two questions each
constexpr const char* kTooLate = "no answer in time";

// c-ares says this where a name has nothing of what was asked for.
bool saysNothingThere(int status) {
  return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_ENONAME;
}

std::string why(int status) {
  return status == ARES_ECANCELLED ? kTooLate : ares_strerror(status);
}

bool isWhole(std::string_view name) {
  return name.ends_with('.');
}

// raw: an in_addr or in6_addr. IPv4 where it is that in truth.
Address makeAddress(int family, const void* raw, std::uint16_t port) {
  const auto* bytes = static_cast<const std::uint8_t*>(raw);
  in6_addr as_v6{};
  std::memcpy(&as_v6, raw, family == AF_INET ? sizeof(in_addr) : sizeof as_v6);
  if (family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&as_v6)) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = as_v6;
    return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  std::memcpy(&v4.sin_addr, bytes + (family == AF_INET ? 0 : 12), sizeof v4.sin_addr);
  return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
}

}  // namespace

// The addresses of one family.
struct DnsLookup::Part {
  bool settled() const { return !addresses.empty() || !failure.empty(); }

  Target& target;
  int family;
  std::vector<Address> addresses{};
  std::string failure{};
};

// What is looked up under one name after the other, until there is something or nobody can say.
struct DnsLookup::Target {
  bool over() const {
    return open == 0 && (asked == names.size() || std::ranges::any_of(parts, &Part::settled));
  }

  DnsLookup& lookup;
  std::string question;
  std::uint16_t port;
  std::vector<std::string> names;
  std::size_t asked = 0;  // of the names
  int open = 0;           // questions
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
      ares_timer_(loop, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }),
      deadline_(loop, [this] { onDeadline(); }),
      step_(loop, [this] { step(); }) {}

DnsLookup::~DnsLookup() {
  if (channel_ != nullptr) {
    ares_destroy(channel_);
    ares_library_cleanup();
  }
}

Result<void> DnsLookup::open() {
  if (const int status = ares_library_init(ARES_LIB_INIT_ALL); status != ARES_SUCCESS) {
    return failure(std::string("c-ares: ") + ares_strerror(status));
  }
  ares_options settings{};
  settings.timeout = static_cast<int>(std::max<std::int64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.timeout).count() / kTries, 1));
  settings.tries = kTries;
  settings.sock_state_cb = &DnsLookup::onSocket;
  settings.sock_state_cb_data = this;
  const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  if (const int status = ares_init_options(&channel_, &settings, mask); status != ARES_SUCCESS) {
    ares_library_cleanup();
    return failure(std::string("c-ares: ") + ares_strerror(status));
  }
  std::string servers;
  for (const Address& server : options_.servers) {
    servers += (servers.empty() ? "" : ",") + server.toString();
  }
  if (!servers.empty()) {
    const int status = ares_set_servers_ports_csv(channel_, servers.c_str());
    if (status != ARES_SUCCESS) {
      return failure(fmt::format("c-ares: name servers {}: {}", servers, ares_strerror(status)));
    }
  }
  return readSearchDomains();
}

// c-ares would go through the search domains for each family apart, and might end at two names.
Result<void> DnsLookup::readSearchDomains() {
  const std::string& name = options_.name;
  if (isWhole(name) || name == "localhost") {
    names_ = {name};
    return {};
  }
  names_ = {name + "."};
  ares_options settings{};
  int mask = 0;
  if (const int status = ares_save_options(channel_, &settings, &mask); status != ARES_SUCCESS) {
    return failure(std::string("c-ares: ") + ares_strerror(status));
  }
  std::vector<std::string> in_domains;
  for (int i = 0; i < settings.ndomains; ++i) {
    if (const std::string_view domain = settings.domains[i]; !domain.empty() && domain != ".") {
      in_domains.push_back(fmt::format("{}.{}{}", name, domain, isWhole(domain) ? "" : "."));
    }
  }
  const bool whole_first = std::ranges::count(name, '.') >= settings.ndots;
  names_.insert(whole_first ? names_.end() : names_.begin(), in_domains.begin(), in_domains.end());
  ares_destroy_options(&settings);
  return {};
}

void DnsLookup::start(Done done) {
  PENSTOCK_CHECK(!done_, "one lookup at a time");
  done_ = std::move(done);
  addresses_ = 0;
  ttl_ = Duration::max();
  services_failure_.clear();
  deadline_.armAfter(options_.timeout);
  if (options_.srv) {
    ares_search(channel_, options_.name.c_str(), ns_c_in, ns_t_srv, &DnsLookup::onServices, this);
    process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    return;
  }
  Target& target = addTarget(options_.name, options_.port, names_);
  for (Part& part : target.parts) {
    takeLocal(part);
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
  } else if (ares_gethostbyname_file(channel_, options_.name.c_str(), part.family, &host) ==
             ARES_SUCCESS) {
    for (char** address = host->h_addr_list; *address != nullptr; ++address) {
      take(part, *address, 0s);
    }
    ares_free_hostent(host);
  }
}

void DnsLookup::onSocket(void* self, int fd, int readable, int writable) noexcept {
  static_cast<DnsLookup*>(self)->watch(fd, readable != 0, writable != 0);
}

// c-ares closes the descriptor after it has said that it wants nothing more of it.
void DnsLookup::watch(int fd, bool read, bool write) {
  if (!read && !write) {
    if (const auto it = watches_.find(fd); it != watches_.end()) {
      it->second->set(false, false);
      // This may be called from inside the watch's callback.
      loop_.destroyLater(std::move(it->second));
      watches_.erase(it);
    }
    return;
  }
  std::unique_ptr<FdWatch>& watch = watches_[fd];
  if (watch == nullptr) {
    watch = std::make_unique<FdWatch>(loop_, fd, [this, fd](FdWatch::Ready ready) {
      process(ready.readable ? fd : ARES_SOCKET_BAD, ready.writable ? fd : ARES_SOCKET_BAD);
    });
  }
  watch->set(read, write);
}

void DnsLookup::process(int readable, int writable) {
  ares_process_fd(channel_, readable, writable);
  timeval next{};
  if (ares_timeout(channel_, nullptr, &next) != nullptr) {
    ares_timer_.armAfter(std::chrono::seconds(next.tv_sec) +
                         std::chrono::microseconds(next.tv_usec) + 1ms);
  } else {
    ares_timer_.disarm();
  }
}

void DnsLookup::step() {
  std::size_t open = 0;
  for (const auto& target : targets_) {
    if (target->open == 0 && !target->over() && open < kAtOnce) {
      ask(*target);
    }
    open += target->over() ? 0 : 1;
  }
  process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  if (open == 0) {
    finish();
  }
}

void DnsLookup::onServices(void* self, int status, int, unsigned char* answer, int size) noexcept {
  auto& lookup = *static_cast<DnsLookup*>(self);
  if (status == ARES_EDESTRUCTION) {
    return;
  }
  lookup.step_.arm(lookup.loop_.now());
  if (status != ARES_SUCCESS) {
    if (!saysNothingThere(status)) {
      lookup.services_failure_ = why(status);
    }
    return;
  }
  const auto records =
      ServiceRecords::parse({answer, static_cast<std::size_t>(size)}, kMaxAddresses);
  if (!records) {
    lookup.services_failure_ = records.error().message;
    return;
  }
  lookup.ttl_ = std::min(lookup.ttl_, records->ttl);
  for (const ServiceRecords::Target& target : records->targets) {
    lookup.addTarget(fmt::format("{}:{}", target.host, target.port), target.port,
                     {target.host + "."});
  }
}

void DnsLookup::ask(Target& target) {
  const std::string& name = target.names[target.asked++];
  target.open = static_cast<int>(target.parts.size());
  for (Part& part : target.parts) {
    ares_addrinfo_hints hints{};
    hints.ai_family = part.family;
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, &DnsLookup::onAddresses, &part);
  }
}

void DnsLookup::onAddresses(void* its_part, int status, int, ares_addrinfo* found) noexcept {
  if (status == ARES_EDESTRUCTION) {
    return;
  }
  auto& part = *static_cast<Part*>(its_part);
  DnsLookup& lookup = part.target.lookup;
  --part.target.open;
  lookup.step_.arm(lookup.loop_.now());
  if (status == ARES_SUCCESS) {
    for (const ares_addrinfo_node* node = found->nodes; node != nullptr; node = node->ai_next) {
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(*node->ai_addr);
      const auto& v6 = reinterpret_cast<const sockaddr_in6&>(*node->ai_addr);
      const void* raw = node->ai_family == AF_INET ? static_cast<const void*>(&v4.sin_addr)
                                                   : static_cast<const void*>(&v6.sin6_addr);
      lookup.take(part, raw, std::chrono::seconds(std::max(node->ai_ttl, 0)));
    }
    ares_freeaddrinfo(found);
  } else if (!saysNothingThere(status)) {
    part.failure = why(status);
  }
}

void DnsLookup::take(Part& part, const void* raw, Duration ttl) {
  if (addresses_ < kMaxAddresses) {
    ++addresses_;
    part.addresses.push_back(makeAddress(part.family, raw, part.target.port));
    ttl_ = std::min(ttl_, ttl);
  }
}

void DnsLookup::onDeadline() {
  ares_cancel(channel_);
  for (const auto& target : targets_) {
    if (!target->over()) {
      for (Part& part : target->parts) {
        part.failure = kTooLate;
      }
    }
  }
  step_.arm(loop_.now());
}

void DnsLookup::finish() {
  deadline_.disarm();
  Done done = std::exchange(done_, nullptr);
  if (targets_.empty() && !services_failure_.empty()) {
    return done(failure(services_failure_));
  }
  FoundAddresses result{.answers = {}, .ttl = addresses_ > 0 ? ttl_ : Duration::zero()};
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
