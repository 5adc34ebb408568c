#pragma once

#include <sys/types.h>

#include "net/address.h"

namespace penstock::net {

// Whom a listener counts as that is seen to be neither the process nor below it.
enum class Stranger {
  // Theirs, unless it is below another penstock-guard or is older than the process: a container,
  // say, that it has asked somebody else to start.
  kMayBeStartedByIt,
  kNever,
};

// Whether a process or one below it listens at an address, as far as /proc tells. True if nobody is
// seen to listen there, or if it cannot be said who does: a process of another user, or one in
// another network namespace.
bool mayListen(pid_t process, const Address& address, Stranger stranger);

}  // namespace penstock::net
