#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"
#include "net/event_loop.h"

struct ares_channeldata;

namespace penstock::net {

// c-ares on the loop, with what it does not do by itself: the tries of one question at all name
// servers fit into the question's time, the server that answered last is asked first, and a server
// that does not understand EDNS is asked without it. The last two take effect with the next
// channel: see renew(). An answer that was cut off is asked for again over TCP. Loop thread only.
class DnsChannel {
 public:
  explicit DnsChannel(EventLoop& loop);
  ~DnsChannel();
  DnsChannel(const DnsChannel&) = delete;
  DnsChannel& operator=(const DnsChannel&) = delete;

  // Reads resolv.conf and the environment. servers: none for those of resolv.conf.
  Result<void> open(const std::vector<Address>& servers);
  // Once, after open() and before the first question: how long one question may take in all.
  Result<void> limit(Duration question);

  const std::vector<std::string>& domains() const { return domains_; }
  int dots() const { return dots_; }  // so many make a name a whole one first

  ares_channeldata* get() const { return channel_; }
  void process();  // after each question
  // What c-ares said to each question. True: its EDNS was not understood, and it is to be asked
  // again after renew().
  [[nodiscard]] bool noteAnswer(int status, int timeouts);
  // No question is to be asked before renew(), which is for when none is open.
  bool stale() const { return stale_; }
  void renew();

 private:
  enum class Edns { kOffered, kOff };

  static void onSocket(void* self, int fd, int readable, int writable) noexcept;
  Result<ares_channeldata*> make();
  void readSystem();
  void watch(int fd, bool read, bool write);
  void process(int readable, int writable);

  EventLoop& loop_;
  bool initialized_ = false;
  bool stale_ = false;
  Edns edns_ = Edns::kOffered;
  Duration try_timeout_{};            // of the first round of tries
  std::vector<std::string> servers_;  // "address:port", the first to ask first
  std::vector<std::string> domains_;
  int dots_ = 1;
  ares_channeldata* channel_ = nullptr;
  std::map<int, std::unique_ptr<FdWatch>> watches_;
  Timer timer_;
};

}  // namespace penstock::net
