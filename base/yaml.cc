#include "base/yaml.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/json_escape.h"
#include "base/quantity.h"
#include "base/yaml_tree.h"

namespace penstock {
namespace {

using Kind = YamlTree::Kind;

std::string quoted(std::string_view text) {
  const std::string_view kept = utf8Prefix(text, 60);
  std::string out = "\"";
  appendJsonEscaped(out, kept);
  out += kept.size() < text.size() ? "…\"" : "\"";
  return out;
}

std::string describe(const YamlTree::Node& node) {
  switch (node.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kSequence:
      return "a sequence";
    case Kind::kMap:
      return "a mapping";
    case Kind::kScalar:
      break;
  }
  return (node.tagged ? "a tagged " : "") + quoted(node.text);
}

// "from 1 to 9", "of at least 1", …; nothing where every value of the type will do.
template <typename T, typename Print>
std::string rangeText(Between<T> range, T lowest, T highest, Print print) {
  if (range.min > lowest && range.max < highest) {
    return fmt::format(" from {} to {}", print(range.min), print(range.max));
  }
  if (range.min > lowest) {
    return fmt::format(" of at least {}", print(range.min));
  }
  if (range.max < highest) {
    return fmt::format(" of at most {}", print(range.max));
  }
  return "";
}

template <typename T>
std::string rangeText(Between<T> range) {
  return rangeText(range, std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max(),
                   [](T value) { return fmt::format("{}", value); });
}

// Levenshtein's, for "did you mean".
std::size_t editDistance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::vector<YamlTree::Note> inOrder(std::vector<YamlTree::Note> notes) {
  std::ranges::stable_sort(
      notes, {}, [](const YamlTree::Note& note) { return std::pair(note.line, note.column); });
  return notes;
}

std::string joinPath(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

}  // namespace

bool YamlValue::isNull() const {
  return tree_->nodes[node_].kind == Kind::kNull;
}
bool YamlValue::isScalar() const {
  return tree_->nodes[node_].kind == Kind::kScalar;
}
bool YamlValue::isSequence() const {
  return tree_->nodes[node_].kind == Kind::kSequence;
}
bool YamlValue::isMap() const {
  return tree_->nodes[node_].kind == Kind::kMap;
}

void YamlValue::error(std::string_view message) const {
  tree_->note(tree_->nodes[node_],
              path_.empty() ? std::string(message) : fmt::format("{}: {}", path_, message));
}

void YamlValue::expected(std::string_view what) const {
  error(fmt::format("expected {}, got {}", what, describe(tree_->nodes[node_])));
}

std::string YamlValue::place() const {
  const YamlTree::Node& node = tree_->nodes[node_];
  return tree_->place(node.line, node.column);
}

std::optional<std::string> YamlValue::string() const {
  const YamlTree::Node& node = tree_->nodes[node_];
  if (!isScalar() || node.tagged) {
    expected("a string");
    return std::nullopt;
  }
  return node.text;
}

std::optional<bool> YamlValue::boolean() const {
  const YamlTree::Node& node = tree_->nodes[node_];
  if (isScalar() && node.plain && (node.text == "true" || node.text == "false")) {
    return node.text == "true";
  }
  expected("true or false");
  return std::nullopt;
}

std::optional<std::int64_t> YamlValue::integer(Between<std::int64_t> range) const {
  const YamlTree::Node& node = tree_->nodes[node_];
  const auto value = parseInteger(node.text);
  if (isScalar() && node.plain && value && *value >= range.min && *value <= range.max) {
    return value;
  }
  expected("a whole number" + rangeText(range));
  return std::nullopt;
}

std::optional<std::uint64_t> YamlValue::unsignedInteger(Between<std::uint64_t> range) const {
  const YamlTree::Node& node = tree_->nodes[node_];
  const auto value = parseUnsigned(node.text);
  if (isScalar() && node.plain && value && *value >= range.min && *value <= range.max) {
    return value;
  }
  expected("a whole number" + (range.min == 0 && range.max == UINT64_MAX ? " of at least 0"
                               : range.min == 0 ? fmt::format(" from 0 to {}", range.max)
                                                : rangeText(range)));
  return std::nullopt;
}

std::optional<double> YamlValue::number(Between<double> range) const {
  const YamlTree::Node& node = tree_->nodes[node_];
  double value = 0;
  const char* const end = node.text.data() + node.text.size();
  const auto [stop, error] = std::from_chars(node.text.data(), end, value);
  if (isScalar() && node.plain && error == std::errc() && stop == end && std::isfinite(value) &&
      value >= range.min && value <= range.max) {
    return value;
  }
  expected("a finite number" + rangeText(range));
  return std::nullopt;
}

std::optional<Duration> YamlValue::duration(Between<Duration> range) const {
  const YamlTree::Node& node = tree_->nodes[node_];
  const auto value = parseDuration(node.text);
  if (isScalar() && !node.tagged && value && *value >= range.min && *value <= range.max) {
    return value;
  }
  expected(fmt::format("a duration{} with its unit ({}), such as 30s",
                       rangeText(range, Duration::zero(), Duration::max(),
                                 [](Duration bound) { return toString(bound); }),
                       kDurationUnits));
  return std::nullopt;
}

std::optional<ByteSize> YamlValue::bytes(Between<ByteSize> range) const {
  const YamlTree::Node& node = tree_->nodes[node_];
  const auto value = parseByteSize(node.text);
  if (isScalar() && !node.tagged && value && *value >= range.min && *value <= range.max) {
    return value;
  }
  expected(fmt::format("a size{} with its unit ({}), such as 64KiB",
                       rangeText(range, ByteSize{0}, ByteSize{UINT64_MAX},
                                 [](ByteSize bound) { return toString(bound); }),
                       kByteUnits));
  return std::nullopt;
}

std::vector<YamlValue> YamlValue::items() const {
  std::vector<YamlValue> result;
  if (!isSequence()) {
    expected("a sequence");
    return result;
  }
  for (const std::uint32_t child : tree_->nodes[node_].children) {
    result.push_back(YamlValue(tree_, child, path_ + "[]"));
  }
  return result;
}

std::optional<std::vector<std::string>> YamlValue::strings() const {
  if (!isSequence()) {
    expected("a sequence of strings");
    return std::nullopt;
  }
  std::vector<std::string> result;
  bool whole = true;
  for (const YamlValue& item : items()) {
    if (auto text = item.string()) {
      result.push_back(std::move(*text));
    } else {
      whole = false;
    }
  }
  return whole ? std::optional(std::move(result)) : std::nullopt;
}

YamlMap::YamlMap(const YamlValue& value) : value_(value) {
  if (!value_.isMap()) {
    value_.expected("a mapping");
  }
}

std::optional<YamlValue> YamlMap::find(std::string_view key) {
  YamlTree& tree = *value_.tree_;
  std::string path = joinPath(value_.path_, key);
  asked_.emplace(key);
  tree.asked.insert(path);
  if (!value_.isMap()) {
    return std::nullopt;
  }
  const std::vector<std::uint32_t>& children = tree.nodes[value_.node_].children;
  for (std::size_t i = 0; i + 1 < children.size(); i += 2) {
    if (tree.nodes[children[i]].text == key) {
      YamlValue found(&tree, children[i + 1], std::move(path));
      return ignore_nulls_ && found.isNull() ? std::nullopt : std::optional(std::move(found));
    }
  }
  return std::nullopt;
}

std::optional<YamlValue> YamlMap::need(std::string_view key) {
  auto found = find(key);
  if (!found && value_.isMap()) {
    value_.error(fmt::format("expected the key {}, which is missing", quoted(key)));
  }
  return found;
}

std::vector<std::string> YamlMap::unknownKeys() const {
  std::vector<std::string> result;
  if (!value_.isMap()) {
    return result;
  }
  const YamlTree& tree = *value_.tree_;
  const std::vector<std::uint32_t>& children = tree.nodes[value_.node_].children;
  for (std::size_t i = 0; i + 1 < children.size(); i += 2) {
    if (!asked_.contains(tree.nodes[children[i]].text)) {
      result.push_back(tree.nodes[children[i]].text);
    }
  }
  return result;
}

std::optional<YamlValue> YamlMap::keyPlace(std::string_view key) const {
  if (value_.isMap()) {
    const YamlTree& tree = *value_.tree_;
    const std::vector<std::uint32_t>& children = tree.nodes[value_.node_].children;
    for (std::size_t i = 0; i + 1 < children.size(); i += 2) {
      if (tree.nodes[children[i]].text == key) {
        return YamlValue(value_.tree_, children[i], value_.path_);
      }
    }
  }
  return std::nullopt;
}

void YamlMap::finish() const {
  for (const std::string& unknown : unknownKeys()) {
    noteUnknown(unknown);
  }
}

void YamlMap::noteUnknown(const std::string& key) const {
  keyPlace(key)->error(nearest(key) ? unknownText(key)
                                    : fmt::format("{}; expected one of {}", unknownText(key),
                                                  fmt::join(asked_, ", ")));
}

std::string YamlMap::unknownText(const std::string& key) const {
  const auto near = nearest(key);
  return fmt::format("unknown key {}{}", quoted(key),
                     near ? fmt::format("; did you mean {}?", quoted(*near)) : "");
}

std::optional<std::string> YamlMap::nearest(const std::string& key) const {
  constexpr std::size_t kNear = 2;
  const auto found = std::ranges::min_element(
      asked_, {}, [&](const std::string& asked) { return editDistance(key, asked); });
  return found != asked_.end() && editDistance(key, *found) <= kNear ? std::optional(*found)
                                                                     : std::nullopt;
}

std::optional<std::size_t> YamlMap::indexOf(const YamlValue& value,
                                            const std::vector<std::string_view>& words) {
  const YamlTree::Node& node = value.tree_->nodes[value.node_];
  const auto found = std::find(words.begin(), words.end(), node.text);
  if (!value.isScalar() || node.tagged || found == words.end()) {
    value.expected(fmt::format("one of {}", fmt::join(words, ", ")));
    return std::nullopt;
  }
  return static_cast<std::size_t>(found - words.begin());
}

YamlDocument::YamlDocument(std::unique_ptr<YamlTree> tree) : tree_(std::move(tree)) {}
YamlDocument::~YamlDocument() = default;
YamlDocument::YamlDocument(YamlDocument&&) noexcept = default;
YamlDocument& YamlDocument::operator=(YamlDocument&&) noexcept = default;

Result<YamlDocument> YamlDocument::load(const std::string& file, const Options& options) {
  std::ifstream stream(file, std::ios::binary);
  std::string text;
  char block[4096];
  while (stream && text.size() <= options.max_size.count) {
    stream.read(block, sizeof block);
    text.append(block, static_cast<std::size_t>(stream.gcount()));
  }
  if (!stream.eof() && text.size() <= options.max_size.count) {
    return failure(file + ": cannot read it: " + std::strerror(errno));
  }
  return parse(text, file, options);
}

Result<YamlDocument> YamlDocument::parse(std::string_view text, const std::string& file_name,
                                         const Options& options) {
  auto tree = parseYamlTree(text, file_name, options);
  if (!tree) {
    return std::unexpected(tree.error());
  }
  return YamlDocument(std::move(*tree));
}

YamlValue YamlDocument::root() const {
  return YamlValue(tree_.get(), tree_->root, "");
}

Result<void> YamlDocument::check() const {
  std::string message;
  for (const YamlTree::Note& note : inOrder(tree_->notes)) {
    message += fmt::format("{}{}: {}", message.empty() ? "" : "\n",
                           tree_->place(note.line, note.column), note.message);
  }
  return message.empty() ? Result<void>() : failure(std::move(message));
}

std::vector<std::string> YamlDocument::mistakes() const {
  std::vector<std::string> messages;
  for (YamlTree::Note& note : inOrder(tree_->notes)) {
    messages.push_back(std::move(note.message));
  }
  return messages;
}

const std::set<std::string>& YamlDocument::askedPaths() const {
  return tree_->asked;
}

}  // namespace penstock
