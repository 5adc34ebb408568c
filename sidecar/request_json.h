#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/http/headers.h"
#include "sidecar/executor.h"

namespace penstock::sidecar {

// The request's line and fields as JSON, for the worker: "meta" of
// model_runtime/python/PROTOCOL.md. Bytes of values are latin-1 code points, as in ASGI.
std::string requestJson(const http::RequestHead& head, std::string_view request_id,
                        const std::optional<Ends>& ends);

}  // namespace penstock::sidecar
