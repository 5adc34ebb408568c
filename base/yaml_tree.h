#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/yaml.h"

namespace penstock {

// What base/yaml.h reads from: the nodes of one document as they were written, with their places.
// Unlike yaml-cpp's own nodes it tells quoted from plain and keeps a mapping's keys in order.
struct YamlTree {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  struct Node {
    Kind kind = Kind::kNull;
    int line = 1;
    int column = 1;
    bool plain = false;   // a scalar without quotes
    bool tagged = false;  // an explicit tag such as !!str
    std::string text{};
    std::vector<std::uint32_t> children{};  // of a mapping: key, value, key, value, …
    std::size_t weight = 1;                 // nodes in it, aliases expanded
  };
  struct Note {
    int line;
    int column;
    std::string message;
  };

  void note(const Node& at, std::string message) {
    notes.push_back({at.line, at.column, std::move(message)});
  }
  std::string place(int line, int column) const {
    return file + ':' + std::to_string(line) + ':' + std::to_string(column);
  }

  std::string file;
  std::vector<Node> nodes;
  std::uint32_t root = 0;
  std::vector<Note> notes;
  std::set<std::string> asked;
};

// Fails on what is not YAML, more than one document, or more than the options allow. Duplicate keys
// are noted in the tree; the first one stays.
Result<std::unique_ptr<YamlTree>> parseYamlTree(std::string_view text, const std::string& file_name,
                                                const YamlDocument::Options& options);

}  // namespace penstock
