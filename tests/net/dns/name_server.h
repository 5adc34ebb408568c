#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.h"
#include "net/event_loop.h"

namespace penstock::net {

inline constexpr std::uint16_t kA = 1;
inline constexpr std::uint16_t kCname = 5;
inline constexpr std::uint16_t kAaaa = 28;
inline constexpr std::uint16_t kSrv = 33;

// A name server over UDP at a loopback address, in the loop of the test that asks it.
class NameServer {
 public:
  struct Record {
    std::string data;
    std::uint32_t ttl;
  };
  using Question = std::pair<std::string, std::uint16_t>;  // name without the last dot, type

  explicit NameServer(EventLoop& loop)
      : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
        watch_(loop, fd_, [this](FdWatch::Ready) { serve(); }) {
    const Address any_port = Address::loopback(0);
    EXPECT_EQ(::bind(fd_, any_port.sockaddrPointer(), any_port.size()), 0);
    watch_.set(true, false);
  }
  ~NameServer() {
    watch_.set(false, false);
    ::close(fd_);
  }
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  Address address() const {
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&own), size);
  }
  void a(const std::string& name, const char* address, std::uint32_t ttl = 60) {
    std::string data(4, '\0');
    EXPECT_EQ(::inet_pton(AF_INET, address, data.data()), 1);
    records[{name, kA}].push_back({data, ttl});
  }
  void aaaa(const std::string& name, const char* address, std::uint32_t ttl = 60) {
    std::string data(16, '\0');
    EXPECT_EQ(::inet_pton(AF_INET6, address, data.data()), 1);
    records[{name, kAaaa}].push_back({data, ttl});
  }
  void cname(const std::string& name, const std::string& target, std::uint32_t ttl = 60) {
    aliases[name] = {wire(target), ttl};
    alias_targets[name] = target;
  }
  void srv(const std::string& name, std::uint16_t priority, std::uint16_t port,
           const std::string& target, std::uint32_t ttl = 60) {
    records[{name, kSrv}].push_back(
        {number(priority) + number(0) + number(port) + wire(target), ttl});
  }

  std::map<Question, std::vector<Record>> records;
  std::map<std::string, Record> aliases;
  std::map<std::string, std::string> alias_targets;
  int code_for_edns = 0;            // of the answer to each question that offers EDNS
  std::size_t edns_questions = 0;   // such questions
  std::map<Question, int> refused;  // with that code; -1: not answered at all
  std::vector<Question> questions;
  std::size_t most_at_once = 0;  // questions found waiting at one time

 private:
  static std::string number(std::uint16_t value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
  }
  static std::string wire(const std::string& name) {
    std::string result;
    for (std::size_t at = 0; at < name.size();) {
      const std::size_t end = std::min(name.find('.', at), name.size());
      result += static_cast<char>(end - at) + name.substr(at, end - at);
      at = end + 1;
    }
    return result + '\0';
  }

  static std::string resource(std::uint16_t type, const Record& record) {
    return number(type) + number(1) + number(static_cast<std::uint16_t>(record.ttl >> 16)) +
           number(static_cast<std::uint16_t>(record.ttl & 0xffff)) +
           number(static_cast<std::uint16_t>(record.data.size())) + record.data;
  }

  void serve() {
    std::array<char, 4096> block;
    sockaddr_storage client{};
    socklen_t size = sizeof client;
    std::size_t waiting = 0;
    for (ssize_t n; (n = ::recvfrom(fd_, block.data(), block.size(), 0,
                                    reinterpret_cast<sockaddr*>(&client), &size)) > 0;) {
      most_at_once = std::max(most_at_once, ++waiting);
      const std::string answer = answerTo({block.data(), static_cast<std::size_t>(n)});
      if (!answer.empty()) {
        ::sendto(fd_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&client), size);
      }
    }
  }

  std::string answerTo(const std::string& message) {
    std::string name;
    std::size_t at = 12;
    for (; message[at] != 0; at += 1 + static_cast<std::size_t>(message[at])) {
      name +=
          (name.empty() ? "" : ".") + message.substr(at + 1, static_cast<std::size_t>(message[at]));
    }
    const Question question{name, static_cast<std::uint8_t>(message[at + 2])};
    questions.push_back(question);
    const auto bad = refused.find(question);
    if (bad != refused.end() && bad->second < 0) {
      return {};
    }
    const bool edns = message[11] != 0;  // the last count of the header: additional records
    edns_questions += edns ? 1 : 0;
    if (edns && code_for_edns != 0) {
      return message.substr(0, 2) + number(static_cast<std::uint16_t>(0x8180 | code_for_edns)) +
             number(1) + number(0) + number(0) + number(0) + message.substr(12, at + 5 - 12);
    }
    const auto alias = aliases.find(name);
    const std::string owner = alias == aliases.end() ? name : alias_targets[name];
    const bool known =
        std::ranges::any_of(records, [&](auto& r) { return r.first.first == owner; });
    const int code = bad != refused.end() ? bad->second : known ? 0 : 3;
    const auto found = records.find({owner, question.second});
    const auto data = code == 0 && found != records.end() ? found->second : std::vector<Record>();
    const std::size_t count = data.size() + (alias == aliases.end() ? 0 : 1);
    std::string answer = message.substr(0, 2) + number(static_cast<std::uint16_t>(0x8180 | code)) +
                         number(1) + number(static_cast<std::uint16_t>(count)) + number(0) +
                         number(0) + message.substr(12, at + 5 - 12);
    if (alias != aliases.end()) {
      answer += wire(name) + resource(kCname, alias->second);
    }
    for (const Record& record : data) {
      answer += (owner == name ? number(0xc00c) : wire(owner)) + resource(question.second, record);
    }
    return answer;
  }

  int fd_;
  FdWatch watch_;
};

}  // namespace penstock::net
