#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/dns/address_lookup.h"
#include "net/event_loop.h"

struct ares_addrinfo;
struct ares_channeldata;

namespace penstock::net {

// Looks one name up with c-ares on the loop, without a thread: A and AAAA together, or SRV records
// first and then the addresses of their targets (those of the best priority; weights are not used).
// The hosts file and the search domains of resolv.conf count, as everywhere on the system. An
// answer that was cut off is asked for again over TCP.
class DnsLookup final : public AddressLookup {
 public:
  struct Options {
    std::string name;
    std::uint16_t port = 0;  // of the addresses; not with srv, whose records bring it
    bool srv = false;
    std::vector<std::string> servers;  // ip:port; empty: those of resolv.conf
    Duration timeout{};                // of the whole lookup
  };
  // More addresses than that are not taken.
  static constexpr std::size_t kMaxAddresses = 1000;

  // An error if c-ares cannot be set up, or a server is no address.
  static Result<std::unique_ptr<DnsLookup>> make(EventLoop& loop, Options options);
  ~DnsLookup() override;
  DnsLookup(const DnsLookup&) = delete;
  DnsLookup& operator=(const DnsLookup&) = delete;

  void start(Done done) override;

 private:
  struct Target {
    std::string name;
    std::uint16_t port;
  };

  DnsLookup(EventLoop& loop, Options options);
  Result<void> open();

  static void onSocket(void* self, int fd, int readable, int writable) noexcept;
  static void onAddresses(void* self, int status, int timeouts, ares_addrinfo* found) noexcept;
  static void onServices(void* self, int status, int timeouts, unsigned char* answer,
                         int size) noexcept;
  void watch(int fd, bool read, bool write);
  void process(int readable, int writable);
  void lookUp(std::vector<Target> targets);
  void lookUpNext();
  void take(const ares_addrinfo& found);
  void fail(const std::string& why);
  void finish();
  // Out of c-ares' callbacks: goes on with the next target, or tells the result.
  void step();

  EventLoop& loop_;
  const Options options_;
  ares_channeldata* channel_ = nullptr;
  std::map<int, std::unique_ptr<FdWatch>> watches_;
  Done done_;
  std::vector<Target> targets_;  // still to be looked up
  std::uint16_t port_ = 0;       // of the one that is being looked up
  std::map<std::string, Address> found_;
  Duration ttl_{};
  std::string failure_;
  bool finished_ = false;
  Timer ares_timer_;
  Timer deadline_;
  Timer step_;
};

}  // namespace penstock::net
