#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "net/address.h"
#include "net/unique_fd.h"

namespace penstock::net {

// A non-blocking, close-on-exec stream socket of the address's family.
Result<UniqueFd> streamSocket(const Address& address);
// Small answers leave at once. Without effect on what is not TCP.
void setNoDelay(int fd);
// A peer that has vanished without a word is noticed: after a minute of silence the kernel asks it
// every 10 s, three times.
void setKeepAlive(int fd);
// The connection ends when what was sent is not acknowledged for so long, or the peer's window
// stays closed for so long while something waits for it.
void setUserTimeout(int fd, Duration timeout);

}  // namespace penstock::net
