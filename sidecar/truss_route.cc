#include "sidecar/truss_route.h"

#include <array>
#include <utility>

#include "sidecar/route.h"

namespace penstock::sidecar {
namespace {

using Kind = TrussRoute::Kind;
using runtime::Operation;

constexpr std::array<std::pair<std::string_view, Operation>, 6> kOperations{{
    {"/invocations", Operation::kPredict},
    {"/v1/chat/completions", Operation::kChatCompletions},
    {"/v1/completions", Operation::kCompletions},
    {"/v1/embeddings", Operation::kEmbeddings},
    {"/v1/messages", Operation::kMessages},
    {"/v1/responses", Operation::kResponses},
}};

TrussRoute onlyBy(bool fits, TrussRoute route, std::string_view allowed) {
  return fits ? route : TrussRoute{.kind = Kind::kMethodNotAllowed, .allowed = allowed};
}

// "/v1/models/{any}" with what may follow.
std::optional<Kind> modelPath(std::string_view path) {
  constexpr std::string_view kPrefix = "/v1/models/";
  if (!path.starts_with(kPrefix)) {
    return std::nullopt;
  }
  path.remove_prefix(kPrefix.size());
  const std::size_t slash = path.find('/');
  const std::string_view rest = slash == std::string_view::npos ? "" : path.substr(slash);
  if (path.empty() || slash == 0) {
    return std::nullopt;
  }
  if (rest == "/loaded") {
    return Kind::kLoaded;
  }
  if (rest == "/schema") {
    return Kind::kSchema;
  }
  return rest.empty() ? std::optional(Kind::kReady) : std::nullopt;
}

bool isBinaryPredictPath(std::string_view path) {
  constexpr std::string_view kSuffix = "_binary";
  return path.ends_with(kSuffix) && path != "/predict_binary" &&
         isPredictRoute(path.substr(0, path.size() - kSuffix.size()));
}

}  // namespace

TrussRoute trussRouteOf(const http::RequestHead& head) {
  const std::string path = routedPath(head.path);
  const bool reads = head.method == "GET" || head.method == "HEAD";
  const bool posts = head.method == "POST";
  if (path == "/v1/websocket" || path == "/websocket") {
    const bool websocket = head.protocol == "websocket";
    return onlyBy(websocket,
                  {.kind = Kind::kRun, .operation = Operation::kWebSocket, .allowed = {}}, "GET");
  }
  if (!head.protocol.empty()) {
    return {};
  }
  if (isPredictRoute(path) || isBinaryPredictPath(path)) {
    return onlyBy(posts, {.kind = Kind::kRun, .operation = Operation::kPredict, .allowed = {}},
                  "POST");
  }
  for (const auto& [known, operation] : kOperations) {
    if (path == known) {
      return onlyBy(posts, {.kind = Kind::kRun, .operation = operation, .allowed = {}}, "POST");
    }
  }
  std::optional<Kind> kind = modelPath(path);
  if (path == "/") {
    kind = Kind::kLive;
  } else if (path == "/ping") {
    kind = Kind::kLoaded;
  }
  if (kind.has_value()) {
    return onlyBy(reads, {.kind = *kind, .operation = {}, .allowed = {}}, "GET, HEAD");
  }
  return {};
}

}  // namespace penstock::sidecar
