#include "sidecar/truss_reply.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "sidecar/error_style.h"

namespace penstock::sidecar {
namespace {

using End = runtime::PythonRuntime::End;

void addErrorFields(http::Headers& headers, TrussError error) {
  headers.set("x-baseten-error-source", "04");
  headers.set("x-baseten-error-code", std::to_string(static_cast<int>(error)));
}

}  // namespace

Reply makeTrussRefusal(Refusal refusal, TrussError error, std::string_view message) {
  Reply reply = makeRefusal(refusal, message);
  applyStyle(reply, ErrorStyle::kTruss);
  addErrorFields(reply.head.headers, error);
  return reply;
}

void addTrussErrorFields(http::ResponseHead& head) {
  if (!head.headers.get("x-baseten-error-source").has_value()) {
    addErrorFields(head.headers, head.status < 500 ? TrussError::kClient : TrussError::kModel);
  }
}

Reply makeModelNotReady() {
  return makeTrussRefusal(Refusal::kNotReady, TrussError::kModel,
                          "Model with name model is not ready.");
}

Reply makeTrussReply(End end) {
  switch (end) {
    case End::kCancelled:
      return makeTrussRefusal(Refusal::kCancelled, TrussError::kClient);
    case End::kDeadlineExceeded:
    case End::kStalled:
      return makeTrussRefusal(Refusal::kDeadlineExceeded, TrussError::kModel);
    case End::kGateFull:
      return makeTrussRefusal(Refusal::kOverloaded, TrussError::kModel);
    case End::kGateTimeout:
      return makeTrussRefusal(Refusal::kGateTimeout, TrussError::kModel);
    case End::kNotExecuted:
      return makeModelNotReady();
    case End::kUnfit:
      return makeTrussRefusal(Refusal::kAnswerUnfit, TrussError::kModel);
    case End::kAborted:
      return makeTrussRefusal(Refusal::kStreamFailed, TrussError::kModel);
    case End::kWorkerLost:
    case End::kFinished:
      break;
  }
  return makeTrussRefusal(Refusal::kWorkerLost, TrussError::kModel);
}

Refusal refusalOf(End end) {
  switch (end) {
    case End::kCancelled:
      return Refusal::kCancelled;
    case End::kDeadlineExceeded:
    case End::kGateTimeout:
      return Refusal::kDeadlineExceeded;
    case End::kStalled:
      return Refusal::kStreamStalled;
    case End::kUnfit:
      return Refusal::kAnswerUnfit;
    case End::kWorkerLost:
    case End::kNotExecuted:
      return Refusal::kWorkerLost;
    case End::kFinished:
    case End::kAborted:
    case End::kGateFull:
      break;
  }
  return Refusal::kStreamFailed;
}

Reply makeTrussReply(runtime::PythonRuntime::Refusal refusal) {
  switch (refusal) {
    case runtime::PythonRuntime::Refusal::kFull:
      return makeTrussRefusal(Refusal::kConcurrencyLimit, TrussError::kModel);
    case runtime::PythonRuntime::Refusal::kDraining:
      return makeTrussRefusal(Refusal::kDraining, TrussError::kModel);
    case runtime::PythonRuntime::Refusal::kNotReady:
      return makeModelNotReady();
  }
  PENSTOCK_CHECK(false, "every refusal has an answer");
}

Reply makeModelReply(int status, const runtime::PythonRuntime::Fields& fields, std::string body) {
  Reply reply{.head = makeModelHead(status, fields), .body = std::move(body)};
  reply.head.content_length = reply.body.size();
  return reply;
}

http::ResponseHead makeModelHead(int status, const runtime::PythonRuntime::Fields& fields) {
  http::ResponseHead head{.status = status, .headers = {}, .content_length = {}};
  for (const auto& [name, value] : fields) {
    std::string lower = name;
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (lower != "content-length" && !http::isHopByHopField(lower)) {
      head.headers.add(lower, value);
    }
  }
  return head;
}

}  // namespace penstock::sidecar
