#include "net/http/headers.h"

#include <algorithm>

#include "base/check.h"

namespace penstock::http {

void Headers::add(std::string_view name, std::string_view value) {
  PENSTOCK_CHECK(text_.size() + name.size() + value.size() <= UINT32_MAX,
                 "codecs bound the size of header fields far below 4 GiB");
  const auto offset = static_cast<std::uint32_t>(text_.size());
  text_.append(name).append(value);
  index_.push_back(Entry{.offset = offset,
                         .name_size = static_cast<std::uint32_t>(name.size()),
                         .value_size = static_cast<std::uint32_t>(value.size())});
}

void Headers::set(std::string_view name, std::string_view value) {
  // The arguments may be views of this very object, which removing would move.
  const std::string own_name(name);
  const std::string own_value(value);
  remove(own_name);
  add(own_name, own_value);
}

std::size_t Headers::remove(std::string_view name) {
  const std::size_t removed = count(name);
  if (removed == 0) {
    return 0;
  }
  std::string kept_text;
  kept_text.reserve(text_.size());
  std::vector<Entry> kept_index;
  kept_index.reserve(index_.size() - removed);
  for (std::size_t i = 0; i < index_.size(); ++i) {
    const Field field = (*this)[i];
    if (field.name == name) {
      continue;
    }
    Entry entry = index_[i];
    entry.offset = static_cast<std::uint32_t>(kept_text.size());
    kept_text.append(field.name).append(field.value);
    kept_index.push_back(entry);
  }
  text_ = std::move(kept_text);
  index_ = std::move(kept_index);
  return removed;
}

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const Field field : *this) {
    if (field.name == name) {
      return field.value;
    }
  }
  return std::nullopt;
}

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(index_.begin(), index_.end(), [&](const Entry& entry) {
        return std::string_view(text_).substr(entry.offset, entry.name_size) == name;
      }));
}

Headers::Field Headers::operator[](std::size_t i) const {
  const Entry& entry = index_[i];
  const std::string_view text = text_;
  return Field{.name = text.substr(entry.offset, entry.name_size),
               .value = text.substr(entry.offset + entry.name_size, entry.value_size)};
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
