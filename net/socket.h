#pragma once

#include "base/result.h"
#include "net/address.h"
#include "net/unique_fd.h"

namespace penstock::net {

// A non-blocking, close-on-exec stream socket of the address's family.
Result<UniqueFd> streamSocket(const Address& address);
// Small answers leave at once. Without effect on what is not TCP.
void setNoDelay(int fd);

}  // namespace penstock::net
