#pragma once

#include <cstdint>
#include <memory>
#include <set>

#include "base/result.h"
#include "net/address.h"
#include "net/unique_fd.h"

namespace penstock::proxy {

// Loopback ports for the processes that this program starts, no two of them the same, also while a
// process that has been given one has not bound it yet. Loop thread only; outlives its claims.
class LoopbackPorts {
 public:
  // A port that is nobody else's while this lives.
  class Claim {
   public:
    Claim(LoopbackPorts& ports, net::UniqueFd socket, const net::Address& address);
    ~Claim();
    Claim(Claim&&) = delete;
    Claim& operator=(Claim&&) = delete;

    const net::Address& address() const { return address_; }
    // Bound there and not listening, to be handed to the process. While it is open, the kernel
    // gives the port to no other program that asks for any. Invalid after release().
    int socket() const { return socket_.get(); }
    // Closes this program's hold of the socket, for a process that binds the port by itself.
    void release() { socket_.reset(); }

   private:
    LoopbackPorts& ports_;
    net::UniqueFd socket_;
    const net::Address address_;
  };

  Result<std::unique_ptr<Claim>> claim();

 private:
  std::set<std::uint16_t> taken_;
};

}  // namespace penstock::proxy
