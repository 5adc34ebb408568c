#include "model_runtime/outcome.h"

#include "base/check.h"

namespace penstock::runtime {

std::string_view toString(Stage stage) {
  switch (stage) {
    case Stage::kPreprocess:
      return "preprocess";
    case Stage::kGate:
      return "gate";
    case Stage::kPredict:
      return "predict";
    case Stage::kPostprocess:
      return "postprocess";
  }
  PENSTOCK_CHECK(false, "every stage has a name");
}

namespace {

std::string_view errorName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kBadInput:
      return "bad_input";
    case ErrorKind::kTooLarge:
      return "too_large";
    case ErrorKind::kUnsupportedMedia:
      return "unsupported_media";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kInternal:
      return "failed";
    case ErrorKind::kOverloaded:
      return "overloaded";
    case ErrorKind::kOutOfDeviceMemory:
      return "out_of_device_memory";
  }
  return "failed";  // a number that no enumerator has, from a careless model
}

}  // namespace

std::string_view outcomeName(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::kSucceeded:
      return "succeeded";
    case Outcome::Kind::kModelError:
      return errorName(outcome.error.kind);
    case Outcome::Kind::kCancelled:
      return "cancelled";
    case Outcome::Kind::kDeadlineExceeded:
      return "deadline_exceeded";
    case Outcome::Kind::kGateFull:
      return "gate_full";
    case Outcome::Kind::kGateTimeout:
      return "gate_timeout";
  }
  PENSTOCK_CHECK(false, "every outcome has a name");
}

}  // namespace penstock::runtime
