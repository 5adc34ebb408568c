#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::http {

// Header fields in arrival order, names in lower case, in one allocation for the text and one for
// the index. Views it gives out are valid until it changes. A value.
class Headers {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  // name must be lower case already; neither is checked (codecs check what they read and write).
  void add(std::string_view name, std::string_view value);
  // Replaces every field of that name by one.
  void set(std::string_view name, std::string_view value);
  // Removes every field of that name; returns how many there were.
  std::size_t remove(std::string_view name) { return mayHave(name) ? erase(name) : 0; }
  // The first field of that name.
  std::optional<std::string_view> get(std::string_view name) const {
    return mayHave(name) ? find(name) : std::nullopt;
  }
  bool has(std::string_view name) const { return get(name).has_value(); }
  std::size_t count(std::string_view name) const;

  std::size_t size() const { return index_.size(); }
  bool empty() const { return index_.empty(); }
  Field operator[](std::size_t i) const {
    const Entry& entry = index_[i];
    const char* const name = text_.data() + entry.offset;
    return {{name, entry.name_size}, {name + entry.name_size, entry.value_size}};
  }
  // Memory held, for accounting.
  std::size_t allocatedBytes() const;

  class Iterator {
   public:
    Iterator(const Headers* headers, std::size_t i) : headers_(headers), i_(i) {}
    Field operator*() const { return (*headers_)[i_]; }
    Iterator& operator++() {
      ++i_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Headers* headers_;
    std::size_t i_;
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, index_.size()}; }

 private:
  struct Entry {
    std::uint32_t offset;
    std::uint32_t name_size;
    std::uint32_t value_size;
  };
  bool isNamed(const Entry& entry, std::string_view name) const {
    return std::string_view(text_.data() + entry.offset, entry.name_size) == name;
  }

  // One of 64 bits, told by the name's ends.
  static std::uint64_t bit(std::string_view name) {
    const std::size_t ends =
        name.empty() ? 0 : static_cast<std::size_t>(name.front() ^ name.back());
    return std::uint64_t{1} << ((3 * name.size() + ends) % 64);
  }
  // False: it is surely not there, which is what most questions come to.
  bool mayHave(std::string_view name) const { return (bits_ & bit(name)) != 0; }
  std::optional<std::string_view> find(std::string_view name) const;
  std::size_t erase(std::string_view name);

  std::string text_;
  std::vector<Entry> index_;
  std::uint64_t bits_ = 0;  // of every name that was ever added
};

enum class Protocol { kHttp10, kHttp11, kHttp2 };
// "HTTP/1.0", "HTTP/1.1", "HTTP/2".
std::string_view toString(Protocol protocol);

struct RequestHead {
  std::string method;
  std::string scheme;     // "http" or "https"
  std::string authority;  // :authority or host; never empty in an accepted request but HTTP/1.0's
  std::string path;       // origin form with query; begins with '/' (or is "*" for OPTIONS)
  std::string protocol;   // "websocket" in a request for one (see isWebSocket()); else empty
  Headers headers;        // without pseudo-headers, host, and hop-by-hop fields
  // The declared body size, when known. "content-length" is not among the headers.
  std::optional<std::uint64_t> content_length;

  // Asks for a WebSocket, over either version as in RFC 8441: method "CONNECT", protocol
  // "websocket". Status 200 accepts it (on HTTP/1.1's wire 101), and the body is then raw bytes
  // both ways; any other status refuses it and is an ordinary response.
  bool isWebSocket() const { return method == "CONNECT" && protocol == "websocket"; }
};

struct ResponseHead {
  int status = 200;
  Headers headers;  // without pseudo-headers and hop-by-hop fields
  std::optional<std::uint64_t> content_length;
};

}  // namespace penstock::http
