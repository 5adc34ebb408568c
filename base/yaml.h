#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/byte_size.h"
#include "base/clock.h"
#include "base/result.h"

// Strict, typed reading of YAML. Reading never stops at the first mistake: each one is noted with
// its place as "file:line:column: what was expected", and YamlDocument::check() tells them all.
//
//   auto document = YamlDocument::load("proxy.yaml");       // syntax, duplicate keys, alias bombs
//   YamlMap top(document->root());
//   top.required("name", name);
//   top.optional("timeout", timeout, {1ms, 1h});
//   top.finish();                                           // keys that nobody asked for
//   if (auto ok = document->check(); !ok) return std::unexpected(ok.error());
namespace penstock {

struct YamlScalar;
struct YamlTree;

// The bounds of a value, ends included.
template <typename T>
struct Between {
  T min;
  T max;
};

template <typename T>
constexpr Between<T> atLeast(std::type_identity_t<T> min) {
  if constexpr (std::same_as<T, ByteSize>) {
    return {min, ByteSize{std::numeric_limits<std::uint64_t>::max()}};
  } else if constexpr (std::same_as<T, Duration>) {
    return {min, Duration::max()};
  } else {
    return {min, std::numeric_limits<T>::max()};
  }
}

// One node of a document, with the place it was found at. Cheap to copy; valid as long as its
// document. The conversions note an error and return nothing when the node is something else.
class YamlValue {
 public:
  bool isNull() const;
  bool isScalar() const;
  bool isSequence() const;
  bool isMap() const;

  // Any scalar but null; quotes make no difference.
  std::optional<std::string> string() const;
  // Exactly true or false.
  std::optional<bool> boolean() const;
  // Decimal, without leading zeros, underscores or quotes.
  std::optional<std::int64_t> integer(Between<std::int64_t> range) const;
  std::optional<std::uint64_t> unsignedInteger(Between<std::uint64_t> range) const;
  // Finite.
  std::optional<double> number(Between<double> range) const;
  // A whole number with one of the units ns, us, ms, s, m, h.
  std::optional<Duration> duration(Between<Duration> range) const;
  // A whole number with one of the units B, KiB, MiB, GiB.
  std::optional<ByteSize> bytes(Between<ByteSize> range) const;
  // The elements of a sequence; empty (and noted) if it is none.
  std::vector<YamlValue> items() const;
  std::optional<std::vector<std::string>> strings() const;

  // A scalar or null as YAML 1.1 reads it, for formats that are somebody else's: yes is true, 0x1F
  // is 31, 12:30 is 750.
  YamlScalar scalar() const;
  // All of it as JSON, whatever it is: scalars as above, numbers that are not finite as Python's
  // json module writes them. Aliases are written out. Keys are strings.
  std::string json() const;

  // Notes a mistake at this place; message says what was expected.
  void error(std::string_view message) const;
  // Notes "path: expected …, got …".
  void expected(std::string_view what) const;
  // "file:line:column".
  std::string place() const;
  // Where in the document, without indexes: "listeners[].routes[].prefix".
  const std::string& path() const { return path_; }

 private:
  friend class YamlDocument;
  friend class YamlMap;
  YamlValue(YamlTree* tree, std::uint32_t node, std::string path)
      : tree_(tree), node_(node), path_(std::move(path)) {}

  YamlTree* tree_;
  std::uint32_t node_;
  std::string path_;
};

// A mapping whose keys are asked for by name. Which were not asked for is known in the end:
// finish() notes each as an error; unknownKeys() only lists them, for formats of which we know just
// a part. A value that is no mapping is noted once and then reads as an empty one.
class YamlMap {
 public:
  explicit YamlMap(const YamlValue& value);

  // The value of key, if there.
  std::optional<YamlValue> find(std::string_view key);
  // The same; absence is noted.
  std::optional<YamlValue> need(std::string_view key);

  // Reads key into out and leaves out alone if it is absent or wrong. T: std::string, bool, an
  // integer, double, Duration, ByteSize, std::vector<std::string>, or std::optional of one of
  // these. Returns whether out was set.
  template <typename T>
  bool optional(std::string_view key, T& out) {
    const auto value = find(key);
    return value && read(*value, out);
  }
  template <typename T>
  bool optional(std::string_view key, T& out, Between<std::type_identity_t<T>> range) {
    const auto value = find(key);
    return value && read(*value, out, range);
  }
  template <typename T>
  bool required(std::string_view key, T& out) {
    const auto value = need(key);
    return value && read(*value, out);
  }
  template <typename T>
  bool required(std::string_view key, T& out, Between<std::type_identity_t<T>> range) {
    const auto value = need(key);
    return value && read(*value, out, range);
  }
  // One of a few words.
  template <typename T>
  bool choice(std::string_view key, T& out,
              std::initializer_list<std::pair<std::string_view, T>> choices) {
    const auto value = find(key);
    if (!value) {
      return false;
    }
    std::vector<std::string_view> words;
    for (const auto& [word, meaning] : choices) {
      words.push_back(word);
    }
    const auto index = indexOf(*value, words);
    if (index) {
      out = (choices.begin() + *index)->second;
    }
    return index.has_value();
  }

  // From now on a key with nothing behind it (`key:`, `key: null`) reads as absent, for formats
  // that say it so.
  void ignoreNulls() { ignore_nulls_ = true; }

  // Keys that were not asked for, in the order of the file.
  std::vector<std::string> unknownKeys() const;
  // The key itself as a value, to note an error at it.
  std::optional<YamlValue> keyPlace(std::string_view key) const;
  // Notes every key that was not asked for.
  void finish() const;
  // The same for one of them; its text alone; and the key that may have been meant, if one is near.
  void noteUnknown(const std::string& key) const;
  std::string unknownText(const std::string& key) const;
  std::optional<std::string> nearest(const std::string& key) const;
  const YamlValue& value() const { return value_; }

 private:
  template <typename T>
  static bool read(const YamlValue& value, T& out) {
    if constexpr (std::same_as<T, std::string>) {
      return assign(out, value.string());
    } else if constexpr (std::same_as<T, bool>) {
      return assign(out, value.boolean());
    } else if constexpr (std::same_as<T, std::vector<std::string>>) {
      return assign(out, value.strings());
    } else if constexpr (std::same_as<T, Duration>) {
      return read(value, out, atLeast<Duration>(Duration::zero()));
    } else if constexpr (std::same_as<T, ByteSize>) {
      return read(value, out, atLeast<ByteSize>(ByteSize{0}));
    } else if constexpr (std::integral<T> || std::floating_point<T>) {
      return read(value, out, atLeast<T>(std::numeric_limits<T>::lowest()));
    } else {
      typename T::value_type inner{};
      return read(value, inner) && assign(out, std::optional(std::move(inner)));
    }
  }
  template <typename T>
  static bool read(const YamlValue& value, T& out, Between<T> range) {
    if constexpr (std::same_as<T, Duration>) {
      return assign(out, value.duration(range));
    } else if constexpr (std::same_as<T, ByteSize>) {
      return assign(out, value.bytes(range));
    } else if constexpr (std::floating_point<T>) {
      return assign(out, value.number({range.min, range.max}));
    } else if constexpr (std::unsigned_integral<T>) {
      return assign(out, value.unsignedInteger({range.min, range.max}));
    } else if constexpr (std::integral<T>) {
      return assign(out, value.integer({range.min, range.max}));
    } else {
      typename T::value_type inner{};
      return read(value, inner, Between<typename T::value_type>{*range.min, *range.max}) &&
             assign(out, std::optional(std::move(inner)));
    }
  }
  template <typename T, typename From>
  static bool assign(T& out, std::optional<From> from) {
    if (from) {
      if constexpr (std::integral<T>) {
        out = static_cast<T>(*from);
      } else {
        out = std::move(*from);
      }
    }
    return from.has_value();
  }
  static std::optional<std::size_t> indexOf(const YamlValue& value,
                                            const std::vector<std::string_view>& words);

  YamlValue value_;
  bool ignore_nulls_ = false;
  std::set<std::string, std::less<>> asked_;
};

// One parsed document and the mistakes noted while it is read. Not thread-safe.
class YamlDocument {
 public:
  struct Options {
    // Nodes, counting what an alias stands for each time it is used.
    std::size_t max_nodes = 20'000;
    std::size_t max_depth = 64;
    ByteSize max_size = 1_MiB;
    // "<<: *other" stands for the keys of another mapping, as in YAML 1.1 and so in Python; else it
    // is a key like any other.
    bool merge_keys = false;
  };

  static Result<YamlDocument> load(const std::string& file) { return load(file, Options()); }
  static Result<YamlDocument> load(const std::string& file, const Options& options);
  // file_name: only for the messages.
  static Result<YamlDocument> parse(std::string_view text, const std::string& file_name) {
    return parse(text, file_name, Options());
  }
  static Result<YamlDocument> parse(std::string_view text, const std::string& file_name,
                                    const Options& options);
  ~YamlDocument();
  YamlDocument(YamlDocument&&) noexcept;
  YamlDocument& operator=(YamlDocument&&) noexcept;

  YamlValue root() const;
  // All mistakes noted so far, in the order of the file, one a line.
  Result<void> check() const;
  // The same without their places, for a document that nobody has before them.
  std::vector<std::string> mistakes() const;
  // Paths of every key that was asked for, whether it was there or not.
  const std::set<std::string>& askedPaths() const;

 private:
  explicit YamlDocument(std::unique_ptr<YamlTree> tree);
  std::unique_ptr<YamlTree> tree_;
};

}  // namespace penstock
