#include "proxy/http/hidden_paths.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace penstock::proxy {
namespace {

struct Root {
  std::string_view path;
  enum class Itself { kOpen, kHidden } itself;
};
constexpr std::array kRoots{
    Root{"/health", Root::Itself::kOpen},
    Root{"/metrics", Root::Itself::kHidden},
    Root{"/penstock", Root::Itself::kOpen},
    Root{"/xds.service.orca.v3.OpenRcaService", Root::Itself::kOpen},
};

// More often than any chain of servers decodes.
constexpr int kMaxDecodings = 3;

enum class Slashes { kDecoded, kKept };

int hexDigit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string decoded(std::string_view text, Slashes slashes) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() && text[i] == '%' ? hexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? hexDigit(text[i + 2]) : -1;
    const char c = static_cast<char>(high * 16 + low);
    if (low < 0 || (c == '/' && slashes == Slashes::kKept)) {
      result += text[i];
    } else {
      result += c;
      i += 2;
    }
  }
  return result;
}

// Without empty and dot segments, and so without a slash at the end.
std::string resolved(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view segment = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (segment == "..") {
      segments.resize(segments.empty() ? 0 : segments.size() - 1);
    } else if (!segment.empty() && segment != ".") {
      segments.push_back(segment);
    }
  }
  std::string result;
  for (const std::string_view segment : segments) {
    (result += '/') += segment;
  }
  return result;
}

bool isBelow(std::string_view path, std::string_view root) {
  return path.size() > root.size() && path.starts_with(root) && path[root.size()] == '/';
}

bool hidden(std::string_view path, std::string_view prefix) {
  return std::ranges::any_of(kRoots, [&](const Root& root) {
    const bool inside =
        isBelow(path, root.path) || (path == root.path && root.itself == Root::Itself::kHidden);
    const bool named = prefix == root.path || isBelow(prefix, root.path);
    return inside && !(named && path.starts_with(prefix));
  });
}

}  // namespace

bool isHiddenPath(std::string_view path, std::string_view prefix) {
  path = path.substr(0, path.find('?'));
  if (!path.contains('%')) {
    return hidden(resolved(path), prefix);
  }
  for (const Slashes slashes : {Slashes::kDecoded, Slashes::kKept}) {
    std::string text(path);
    for (int i = 0; i <= kMaxDecodings; ++i) {
      if (hidden(resolved(text), prefix)) {
        return true;
      }
      text = decoded(text, slashes);
    }
  }
  return false;
}

}  // namespace penstock::proxy
