#pragma once

#include <cstdint>
#include <vector>

namespace penstock::net {

// The inodes of the TCP sockets that listen at a port, whatever their local address, in this
// network namespace. Asks the kernel for these alone: /proc/net/tcp costs a walk through the table
// of all connections, tens of milliseconds on a large machine. Empty also if the kernel does not
// answer.
std::vector<std::uint32_t> tcpListenersAt(std::uint16_t port);

}  // namespace penstock::net
