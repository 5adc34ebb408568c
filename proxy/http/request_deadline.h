#pragma once

#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "net/http/headers.h"

namespace penstock::proxy {

// The time that a client gives its request, from the shortest of grpc-timeout ("100m": digits and a
// unit of H M S m u n), x-request-timeout-ms and x-envoy-upstream-rq-timeout-ms (whole
// milliseconds), each of which may come more than once. Absent if it says nothing; an error names
// the field and what was expected.
Result<std::optional<Duration>> requestTimeout(const http::Headers& headers);

// Takes them out of the headers.
void removeTimeouts(http::Headers& headers);

// Writes the time left into the fields by which the replica hears of it.
void setRemainingTime(http::Headers& headers, Duration remaining);

}  // namespace penstock::proxy
