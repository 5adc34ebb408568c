#include "net/process/tcp_listeners.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/unique_fd.h"

namespace penstock::net {
namespace {

// TCP_LISTEN of the kernel's states (linux/tcp_states.h, which is not for programs).
constexpr std::uint32_t kListenState = 1u << 10;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 what;
};

bool ask(int fd, std::uint8_t family, std::uint16_t port) {
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.what.sdiag_family = family;
  request.what.sdiag_protocol = IPPROTO_TCP;
  request.what.idiag_states = kListenState;
  request.what.id.idiag_sport = htons(port);
  return ::send(fd, &request, sizeof request, 0) == static_cast<ssize_t>(sizeof request);
}

// One answer; whether more of them follow.
bool take(std::span<const std::byte> answer, std::uint16_t port,
          std::vector<std::uint32_t>& inodes) {
  while (answer.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, answer.data(), sizeof header);
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len < NLMSG_HDRLEN ||
        header.nlmsg_len > answer.size()) {
      return false;  // the end, or an error
    }
    inet_diag_msg socket;
    if (header.nlmsg_len >= NLMSG_HDRLEN + sizeof socket) {
      std::memcpy(&socket, answer.data() + NLMSG_HDRLEN, sizeof socket);
      // The filter of the question only spares answers.
      if (ntohs(socket.id.idiag_sport) == port) {
        inodes.push_back(socket.idiag_inode);
      }
    }
    answer = answer.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), answer.size()));
  }
  return true;
}

}  // namespace

std::vector<std::uint32_t> tcpListenersAt(std::uint16_t port) {
  std::vector<std::uint32_t> inodes;
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd.valid()) {
    return inodes;
  }
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    if (!ask(fd.get(), family, port)) {
      continue;
    }
    // The kernel has an answer ready, or goes on with it, in this very call.
    std::array<std::byte, 32 * 1024> answer;
    ssize_t size = 0;
    do {
      size = ::recv(fd.get(), answer.data(), answer.size(), MSG_DONTWAIT);
    } while (size > 0 &&
             take(std::span(answer).first(static_cast<std::size_t>(size)), port, inodes));
  }
  return inodes;
}

}  // namespace penstock::net
