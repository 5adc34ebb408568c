#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "proxy/config/config.h"

namespace penstock::proxy {

// Whether the files that a configuration names can be used: certificates, keys, CAs and the admin
// token. The error says whose cannot.
Result<void> checkStartFiles(const Config& config, const Clock& clock);

}  // namespace penstock::proxy
