#include "proxy/scaling/loopback_ports.h"

#include <utility>
#include <vector>

#include "net/listener.h"

namespace penstock::proxy {
namespace {

// Ports are given out at random, so a second try finds another one unless most are taken.
constexpr std::size_t kMaxTries = 256;

}  // namespace

LoopbackPorts::Claim::Claim(LoopbackPorts& ports, net::UniqueFd socket, const net::Address& address)
    : ports_(ports), socket_(std::move(socket)), address_(address) {
  ports_.taken_.insert(address_.port());
}

LoopbackPorts::Claim::~Claim() {
  ports_.taken_.erase(address_.port());
}

Result<std::unique_ptr<LoopbackPorts::Claim>> LoopbackPorts::claim() {
  // Held until one is found, so that the kernel gives each of them once.
  std::vector<net::UniqueFd> in_vain;
  while (in_vain.size() < kMaxTries) {
    Result<net::UniqueFd> socket = net::bindTo(net::Address::loopback(0));
    if (!socket) {
      return std::unexpected(socket.error());
    }
    const net::Address address = net::boundAddress(socket->get());
    if (!taken_.contains(address.port())) {
      return std::make_unique<Claim>(*this, std::move(*socket), address);
    }
    in_vain.push_back(std::move(*socket));
  }
  return failure("no loopback port is free: see net.ipv4.ip_local_port_range");
}

}  // namespace penstock::proxy
