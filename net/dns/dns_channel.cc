#include "net/dns/dns_channel.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <ares.h>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace penstock::net {
namespace {

using namespace std::chrono_literals;

constexpr int kTries = 2;            // of each server; c-ares waits twice as long for the second
constexpr int kRounds = 1 + 2;       // in times of a first try
constexpr int kDatagramSize = 1232;  // passes everywhere without being cut to pieces
constexpr std::uint16_t kPort = 53;

std::unexpected<Error> aresFailure(std::string_view what, int status) {
  return failure(fmt::format("c-ares: {}{}", what, ares_strerror(status)));
}

std::string serverText(const ares_addr_port_node& server) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(server.family, &server.addr, text.data(), text.size());
  const int port = server.udp_port != 0 ? server.udp_port : kPort;
  return server.family == AF_INET6 ? fmt::format("[{}]:{}", text.data(), port)
                                   : fmt::format("{}:{}", text.data(), port);
}

}  // namespace

DnsChannel::DnsChannel(EventLoop& loop)
    : loop_(loop), timer_(loop, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }) {}

DnsChannel::~DnsChannel() {
  if (channel_ != nullptr) {
    ares_destroy(channel_);
  }
  if (initialized_) {
    ares_library_cleanup();
  }
}

Result<void> DnsChannel::open(const std::vector<Address>& servers) {
  if (const int status = ares_library_init(ARES_LIB_INIT_ALL); status != ARES_SUCCESS) {
    return aresFailure("", status);
  }
  initialized_ = true;
  for (const Address& server : servers) {
    servers_.push_back(server.toString());
  }
  auto made = make();
  if (!made) {
    return std::unexpected(made.error());
  }
  channel_ = *made;
  readSystem();
  return {};
}

void DnsChannel::readSystem() {
  ares_options settings{};
  int mask = 0;
  if (ares_save_options(channel_, &settings, &mask) == ARES_SUCCESS) {
    dots_ = settings.ndots;
    for (int i = 0; i < settings.ndomains; ++i) {
      domains_.emplace_back(settings.domains[i]);
    }
    ares_destroy_options(&settings);
  }
  ares_addr_port_node* first = nullptr;
  if (servers_.empty() && ares_get_servers_ports(channel_, &first) == ARES_SUCCESS) {
    for (const auto* server = first; server != nullptr; server = server->next) {
      servers_.push_back(serverText(*server));
    }
    ares_free_data(first);
  }
}

Result<void> DnsChannel::limit(Duration question) {
  const auto servers = static_cast<std::int64_t>(std::max<std::size_t>(servers_.size(), 1));
  try_timeout_ = question / (kRounds * servers);
  auto made = make();
  if (!made) {
    return std::unexpected(made.error());
  }
  ares_destroy(std::exchange(channel_, *made));
  return {};
}

Result<ares_channeldata*> DnsChannel::make() {
  ares_options settings{};
  settings.timeout = static_cast<int>(std::max<std::int64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(try_timeout_).count(), 1));
  settings.tries = kTries;
  settings.sock_state_cb = &DnsChannel::onSocket;
  settings.sock_state_cb_data = this;
  settings.flags = edns_ == Edns::kOffered ? ARES_FLAG_EDNS : 0;
  settings.ednspsz = kDatagramSize;
  const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS |
                   ARES_OPT_EDNSPSZ;
  ares_channeldata* channel = nullptr;
  if (const int status = ares_init_options(&channel, &settings, mask); status != ARES_SUCCESS) {
    return aresFailure("", status);
  }
  const std::string servers = fmt::format("{}", fmt::join(servers_, ","));
  if (!servers.empty()) {
    const int status = ares_set_servers_ports_csv(channel, servers.c_str());
    if (status != ARES_SUCCESS) {
      ares_destroy(channel);
      return aresFailure(fmt::format("name servers {}: ", servers), status);
    }
  }
  return channel;
}

bool DnsChannel::noteAnswer(int status, int timeouts) {
  if (status == ARES_EFORMERR) {
    // Others that were open at the time find it off already.
    stale_ = stale_ || edns_ == Edns::kOffered;
    edns_ = Edns::kOff;
    return stale_;
  }
  const bool answered =
      status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND;
  // Once for each channel: several questions at a time missed the same servers.
  if (answered && timeouts > 0 && servers_.size() > 1 && !stale_) {
    const auto missed = static_cast<std::size_t>(timeouts) % servers_.size();
    std::ranges::rotate(servers_, servers_.begin() + static_cast<std::ptrdiff_t>(missed));
    stale_ = missed != 0;
  }
  return false;
}

void DnsChannel::renew() {
  stale_ = false;
  // Without another channel the one that there is has to do.
  if (auto made = make()) {
    ares_destroy(std::exchange(channel_, *made));
  }
}

void DnsChannel::onSocket(void* self, int fd, int readable, int writable) noexcept {
  static_cast<DnsChannel*>(self)->watch(fd, readable != 0, writable != 0);
}

// c-ares closes the descriptor after it has said that it wants nothing more of it.
void DnsChannel::watch(int fd, bool read, bool write) {
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

void DnsChannel::process() {
  process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

void DnsChannel::process(int readable, int writable) {
  ares_process_fd(channel_, readable, writable);
  timeval next{};
  if (ares_timeout(channel_, nullptr, &next) != nullptr) {
    timer_.armAfter(std::chrono::seconds(next.tv_sec) + std::chrono::microseconds(next.tv_usec) +
                    1ms);
  } else {
    timer_.disarm();
  }
}

}  // namespace penstock::net
