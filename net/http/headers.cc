#include "net/http/headers.h"

#include <algorithm>

#include "base/check.h"

namespace penstock::http {
namespace {

// Room for what most messages have, in one allocation each.
constexpr std::size_t kTypicalText = 512;
constexpr std::size_t kTypicalFields = 16;

}  // namespace

void Headers::add(std::string_view name, std::string_view value) {
  const std::size_t size = text_.size() + name.size() + value.size();
  PENSTOCK_CHECK(size <= UINT32_MAX, "codecs bound the size of header fields far below 4 GiB");
  const auto offset = static_cast<std::uint32_t>(text_.size());
  bits_ |= bit(name);
  if (size > text_.capacity()) {
    // By hand, because the arguments may be views of the text that moves.
    std::string larger;
    larger.reserve(std::max(kTypicalText, 2 * size));
    larger.append(text_).append(name).append(value);
    text_ = std::move(larger);
  } else {
    text_.resize_and_overwrite(size, [&](char* text, std::size_t) {
      name.copy(text + offset, name.size());
      value.copy(text + offset + name.size(), value.size());
      return size;
    });
  }
  if (index_.empty()) {
    index_.reserve(kTypicalFields);
  }
  index_.push_back(Entry{.offset = offset,
                         .name_size = static_cast<std::uint32_t>(name.size()),
                         .value_size = static_cast<std::uint32_t>(value.size())});
}

void Headers::set(std::string_view name, std::string_view value) {
  remove(name);
  add(name, value);
}

// The text stays where it is: what was a view of it still is one.
std::size_t Headers::erase(std::string_view name) {
  return std::erase_if(index_, [&](const Entry& entry) { return isNamed(entry, name); });
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  const auto entry = std::ranges::find_if(index_, [&](const Entry& e) { return isNamed(e, name); });
  if (entry == index_.end()) {
    return std::nullopt;
  }
  return std::string_view(text_.data() + entry->offset + entry->name_size, entry->value_size);
}

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(std::count_if(
      index_.begin(), index_.end(), [&](const Entry& entry) { return isNamed(entry, name); }));
}

std::size_t Headers::allocatedBytes() const {
  return text_.capacity() + index_.capacity() * sizeof(Entry);
}

std::string_view toString(Protocol protocol) {
  switch (protocol) {
    case Protocol::kHttp10:
      return "HTTP/1.0";
    case Protocol::kHttp11:
      return "HTTP/1.1";
    case Protocol::kHttp2:
      return "HTTP/2";
  }
  return "unknown";
}

}  // namespace penstock::http
