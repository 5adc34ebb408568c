#include "net/dns/dns_lookup.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <ares.h>
#include <arpa/nameser.h>
#include <netinet/in.h>

#include "base/check.h"

namespace penstock::net {
namespace {

using namespace std::chrono_literals;

constexpr int kTries = 2;  // of each server

// c-ares says this where a name has nothing of what was asked for.
bool saysNothingThere(int status) {
  return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_ENONAME;
}

bool isCancelled(int status) {
  return status == ARES_ECANCELLED || status == ARES_EDESTRUCTION;
}

// An IPv4 address, also where it is written as IPv6.
Address withPort(const sockaddr& address, std::uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (address.sa_family == AF_INET) {
    v4.sin_addr = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  sockaddr_in6 v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    std::memcpy(&v4.sin_addr, v6.sin6_addr.s6_addr + 12, sizeof v4.sin_addr);
    return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  v6.sin6_port = htons(port);
  return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

}  // namespace

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
      deadline_(loop, [this] { fail("no answer in time"); }),
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
  if (options_.servers.empty()) {
    return {};
  }
  std::string servers;
  for (const std::string& server : options_.servers) {
    servers += (servers.empty() ? "" : ",") + server;
  }
  if (const int status = ares_set_servers_ports_csv(channel_, servers.c_str());
      status != ARES_SUCCESS) {
    return failure("expected addresses of name servers, got " + servers);
  }
  return {};
}

void DnsLookup::start(Done done) {
  PENSTOCK_CHECK(!done_, "one lookup at a time");
  done_ = std::move(done);
  found_.clear();
  failure_.clear();
  finished_ = false;
  ttl_ = Duration::max();
  deadline_.armAfter(options_.timeout);
  if (options_.srv) {
    ares_search(channel_, options_.name.c_str(), ns_c_in, ns_t_srv, &DnsLookup::onServices, this);
    process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  } else {
    lookUp({{options_.name, options_.port}});
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

void DnsLookup::onServices(void* self, int status, int, unsigned char* answer, int size) noexcept {
  auto& lookup = *static_cast<DnsLookup*>(self);
  if (isCancelled(status)) {
    return;
  }
  if (saysNothingThere(status)) {
    return lookup.lookUp({});
  }
  ares_srv_reply* records = nullptr;
  if (status == ARES_SUCCESS) {
    status = ares_parse_srv_reply(answer, size, &records);
  }
  if (status != ARES_SUCCESS) {
    return saysNothingThere(status) ? lookup.lookUp({}) : lookup.fail(ares_strerror(status));
  }
  unsigned short best = 0xffff;
  for (const ares_srv_reply* record = records; record != nullptr; record = record->next) {
    best = std::min(best, record->priority);
  }
  std::vector<Target> targets;
  for (const ares_srv_reply* record = records; record != nullptr; record = record->next) {
    // A target "." says that the service is not offered.
    const std::string_view host = record->host;
    if (record->priority == best && !host.empty() && host != "." &&
        targets.size() < kMaxAddresses) {
      targets.push_back({std::string(host), record->port});
    }
  }
  ares_free_data(records);
  lookup.lookUp(std::move(targets));
}

void DnsLookup::lookUp(std::vector<Target> targets) {
  targets_ = std::move(targets);
  step_.arm(loop_.now());
}

void DnsLookup::step() {
  if (!finished_) {
    return lookUpNext();
  }
  ares_cancel(channel_);
  process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  Done done = std::exchange(done_, nullptr);
  if (!failure_.empty()) {
    return done(failure(failure_));
  }
  FoundAddresses result{.addresses = {}, .ttl = found_.empty() ? Duration::zero() : ttl_};
  for (const auto& [text, address] : found_) {
    result.addresses.push_back(address);
  }
  done(std::move(result));
}

void DnsLookup::lookUpNext() {
  if (targets_.empty()) {
    return finish();
  }
  const Target target = std::move(targets_.back());
  targets_.pop_back();
  port_ = target.port;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel_, target.name.c_str(), nullptr, &hints, &DnsLookup::onAddresses, this);
  process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

void DnsLookup::onAddresses(void* self, int status, int, ares_addrinfo* found) noexcept {
  auto& lookup = *static_cast<DnsLookup*>(self);
  if (isCancelled(status)) {
    return;
  }
  if (status == ARES_SUCCESS) {
    lookup.take(*found);
    ares_freeaddrinfo(found);
  } else if (!saysNothingThere(status)) {
    return lookup.fail(ares_strerror(status));
  }
  lookup.step_.arm(lookup.loop_.now());
}

void DnsLookup::take(const ares_addrinfo& found) {
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    if (found_.size() < kMaxAddresses) {
      const Address address = withPort(*node->ai_addr, port_);
      found_.emplace(address.toString(), address);
      ttl_ = std::min<Duration>(ttl_, std::chrono::seconds(std::max(node->ai_ttl, 0)));
    }
  }
}

void DnsLookup::fail(const std::string& why) {
  failure_ = why;
  finish();
}

void DnsLookup::finish() {
  deadline_.disarm();
  targets_.clear();
  finished_ = true;
  step_.arm(loop_.now());
}

}  // namespace penstock::net
