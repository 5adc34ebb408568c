#pragma once

#include <string>
#include <string_view>

#include "model_runtime/python/python_runtime.h"
#include "net/http/headers.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {

// Answers as a Truss's server gives them: {"error": "…"}, with the fields X-BASETEN-ERROR-SOURCE
// and X-BASETEN-ERROR-CODE, beside the sidecar's own reason and "not executed".

// Why a Truss's server refuses; becomes the error code.
enum class TrussError {
  kModel = 600,   // the model or its server
  kClient = 700,  // the request
};

// message: empty for the sidecar's usual sentence.
Reply makeTrussRefusal(Refusal refusal, TrussError error, std::string_view message = {});
// The two fields, as an error's status has them, unless they are there.
void addTrussErrorFields(http::ResponseHead& head);
// The reply to what the runtime ended without a response of the model's.
Reply makeTrussReply(runtime::PythonRuntime::End end);
Reply makeTrussReply(runtime::PythonRuntime::Refusal refusal);
// Why a response that had begun broke off.
Refusal refusalOf(runtime::PythonRuntime::End end);
Reply makeModelNotReady();
// A whole response of the model's; fields that belong to the connection are left out. (What is no
// field at all, the codec keeps back.)
Reply makeModelReply(int status, const runtime::PythonRuntime::Fields& fields, std::string body);
http::ResponseHead makeModelHead(int status, const runtime::PythonRuntime::Fields& fields);

}  // namespace penstock::sidecar
