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

// Looks one name up with c-ares on the loop, without a thread: A and AAAA, each with an answer of
// its own, or SRV records first and then the addresses of their targets, several at a time. The
// hosts file and the search domains of resolv.conf count for the name, as everywhere on the system,
// but not for targets. An answer that was cut off is asked for again over TCP.
class DnsLookup final : public AddressLookup {
 public:
  struct Options {
    std::string name;
    std::uint16_t port = 0;  // of the addresses; not with srv, whose records bring it
    bool srv = false;
    bool ipv4 = true;                // ask for A; one of the two
    bool ipv6 = true;                // ask for AAAA
    std::vector<Address> servers{};  // none: those of resolv.conf
    Duration timeout{};              // of the whole lookup; what has no answer by then is an error
  };
  // More addresses than that are not taken.
  static constexpr std::size_t kMaxAddresses = 1000;

  // An error if c-ares cannot be set up.
  static Result<std::unique_ptr<DnsLookup>> make(EventLoop& loop, Options options);
  ~DnsLookup() override;
  DnsLookup(const DnsLookup&) = delete;
  DnsLookup& operator=(const DnsLookup&) = delete;

  void start(Done done) override;

 private:
  struct Target;
  struct Part;

  DnsLookup(EventLoop& loop, Options options);
  Result<void> open();
  Result<void> readSearchDomains();

  static void onSocket(void* self, int fd, int readable, int writable) noexcept;
  static void onAddresses(void* part, int status, int timeouts, ares_addrinfo* found) noexcept;
  static void onServices(void* self, int status, int timeouts, unsigned char* answer,
                         int size) noexcept;
  void watch(int fd, bool read, bool write);
  void process(int readable, int writable);
  Target& addTarget(std::string question, std::uint16_t port, std::vector<std::string> names);
  void takeLocal(Part& part);
  // Out of c-ares' callbacks: asks what is to be asked next, or tells the result.
  void step();
  void ask(Target& target);
  void take(Part& part, const void* raw, Duration ttl);
  void onDeadline();
  void finish();

  EventLoop& loop_;
  const Options options_;
  std::vector<std::string> names_;  // what the name may mean, each a whole name
  ares_channeldata* channel_ = nullptr;
  std::map<int, std::unique_ptr<FdWatch>> watches_;
  Done done_;
  std::string services_failure_;
  std::vector<std::unique_ptr<Target>> targets_;
  std::size_t addresses_ = 0;
  Duration ttl_{};
  Timer ares_timer_;
  Timer deadline_;
  Timer step_;
};

}  // namespace penstock::net
