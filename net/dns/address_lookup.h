#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/address.h"

namespace penstock::net {

// Where a name leads now, question by question: the families of an address are asked for apart, and
// one may get an answer when another does not.
struct FoundAddresses {
  struct Answer {
    std::string question;  // the same in each lookup
    // Empty: there is nothing. An error: nobody could say.
    Result<std::vector<Address>> addresses;
  };
  std::vector<Answer> answers;
  // "address (why)": what was found and can be no server's address, each once, in order, and not
  // more than kMaxRefused of them. They are not in the answers.
  static constexpr std::size_t kMaxRefused = 8;
  std::vector<std::string> refused{};
  // Of more addresses than that the last in order, as text, are not taken.
  static constexpr std::size_t kMaxAddresses = 1000;
  bool cut = false;  // there were more
  Duration ttl{};    // the shortest of what leads to the addresses; 0 if not known
};

// Finds addresses, again and again, one lookup at a time. Loop thread only.
class AddressLookup {
 public:
  using Done = std::move_only_function<void(Result<FoundAddresses>)>;

  virtual ~AddressLookup() = default;
  // done: once, later than from here, unless this is destroyed before. An error means that nobody
  // could say even what to ask for.
  virtual void start(Done done) = 0;
};

}  // namespace penstock::net
