#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "net/dns/address_lookup.h"
#include "net/dns/dns_channel.h"
#include "net/dns/service_records.h"
#include "net/event_loop.h"

struct ares_addrinfo;

namespace penstock::net {

// Looks one name up with c-ares on the loop, without a thread: A and AAAA, each with an answer of
// its own, or SRV records first and then the addresses of their targets, several at a time. The
// hosts file and the search domains of resolv.conf count for the name, as everywhere on the system,
// but not for targets: one name after the other, the name as it stands among them, until one has an
// answer. A name that nobody can say anything about is passed over, unless it is the one that had
// the last answer: the name is not to become another one for a while. Targets of the next priority
// count where those of the better ones have no address.
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

  // An error if c-ares cannot be set up.
  static Result<std::unique_ptr<DnsLookup>> make(EventLoop& loop, Options options);
  ~DnsLookup() override;
  DnsLookup(const DnsLookup&) = delete;
  DnsLookup& operator=(const DnsLookup&) = delete;

  void start(Done done) override;

 private:
  struct Target;
  struct Part;

  enum class Stage { kServices, kAddresses, kTooLate };

  DnsLookup(EventLoop& loop, Options options);
  Result<void> open();
  void nameCandidates();

  static void onAddresses(void* part, int status, int timeouts, ares_addrinfo* found) noexcept;
  static void onServices(void* self, int status, int timeouts, unsigned char* answer,
                         int size) noexcept;
  void takeServices(int status, std::span<const unsigned char> answer);
  Target& addTarget(std::string question, std::uint16_t port, std::vector<std::string> names);
  bool addNextPriority();
  void takeLocal(Part& part);
  // Out of c-ares' callbacks: asks what is to be asked next, or tells the result.
  void step();
  void stepServices();
  void stepAddresses();
  void askServices();
  void ask(Target& target);
  void takeFound(Part& part, const ares_addrinfo& found);
  void settle(Target& target);
  void take(Part& part, const void* raw, Duration ttl);
  void cut();
  void onDeadline();
  void finish();

  EventLoop& loop_;
  const Options options_;
  DnsChannel channel_;
  std::vector<std::string> names_;  // what the name may mean, each a whole name
  std::string settled_name_;        // which of them had the last answer; empty: none yet
  Done done_;
  Stage stage_ = Stage::kAddresses;
  std::size_t services_asked_ = 0;  // of the names
  std::string services_failure_;
  std::vector<ServiceRecords::Target> services_;  // that are not asked for yet
  std::vector<std::unique_ptr<Target>> targets_;
  int open_ = 0;  // questions
  std::size_t addresses_ = 0;
  bool cut_ = false;  // there are more addresses than are taken
  std::set<std::string> refused_;
  Duration ttl_{};
  Timer deadline_;
  Timer step_;
};

}  // namespace penstock::net
