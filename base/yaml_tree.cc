#include "base/yaml_tree.h"

#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "base/json_escape.h"

namespace penstock {
namespace {

// Leaves yaml-cpp's parser from inside an event.
struct Stop {
  int line;
  int column;
  std::string message;
};

std::string quoted(std::string_view text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}

// Builds the tree from yaml-cpp's events. Its own node builder would lose duplicate keys and
// quotes.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(YamlTree& tree, const YamlDocument::Options& options)
      : tree_(tree), options_(options) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(started_, true)) {
      stop(mark, "expected one document, found a second");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    place(add(mark, YamlTree::Kind::kNull, anchor));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto target = anchors_.find(anchor);
    if (target == anchors_.end() || isOpen(target->second)) {
      stop(mark, "an alias inside the node that it stands for");
    }
    count(mark, tree_.nodes[target->second].weight);
    place(target->second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // yaml-cpp's tags: "?" for a plain scalar, "!" for a quoted one.
    const bool plain = tag == "?" || tag.empty();
    const bool null = plain && (value == "~" || value == "null");
    const std::uint32_t index =
        add(mark, null ? YamlTree::Kind::kNull : YamlTree::Kind::kScalar, anchor);
    tree_.nodes[index].plain = plain;
    tree_.nodes[index].tagged = !plain && tag != "!";
    tree_.nodes[index].text = value;
    place(index);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(mark, YamlTree::Kind::kSequence, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(mark, YamlTree::Kind::kMap, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    std::uint32_t node;
    std::map<std::string, int> key_lines;  // of a mapping
    bool skip_value = false;               // the next node belongs to a duplicate key
  };

  [[noreturn]] static void stop(const YAML::Mark& mark, std::string message) {
    throw Stop{mark.line + 1, mark.column + 1, std::move(message)};
  }

  bool isOpen(std::uint32_t node) const {
    for (const Open& open : open_) {
      if (open.node == node) {
        return true;
      }
    }
    return false;
  }

  void count(const YAML::Mark& mark, std::size_t nodes) {
    count(mark.line + 1, mark.column + 1, nodes);
  }
  void count(int line, int column, std::size_t nodes) {
    count_ += nodes;
    if (count_ > options_.max_nodes) {
      throw Stop{line, column,
                 "expected at most " + std::to_string(options_.max_nodes) +
                     " nodes, aliases counted each time they are used"};
    }
  }

  std::uint32_t add(const YAML::Mark& mark, YamlTree::Kind kind, YAML::anchor_t anchor) {
    count(mark, 1);
    const auto index = static_cast<std::uint32_t>(tree_.nodes.size());
    tree_.nodes.push_back({.kind = kind, .line = mark.line + 1, .column = mark.column + 1});
    if (anchor != YAML::NullAnchor) {
      anchors_[anchor] = index;
    }
    return index;
  }

  void open(const YAML::Mark& mark, YamlTree::Kind kind, YAML::anchor_t anchor) {
    if (open_.size() >= options_.max_depth) {
      stop(mark, "expected at most " + std::to_string(options_.max_depth) + " levels of nesting");
    }
    open_.push_back({.node = add(mark, kind, anchor), .key_lines = {}});
  }

  void close() {
    const std::uint32_t node = open_.back().node;
    if (options_.merge_keys && tree_.nodes[node].kind == YamlTree::Kind::kMap) {
      merge(node);
    }
    for (const std::uint32_t child : tree_.nodes[node].children) {
      tree_.nodes[node].weight += tree_.nodes[child].weight;
    }
    open_.pop_back();
    place(node);
  }

  // The mapping's own keys come before those merged into it, and of these the first one counts.
  void merge(std::uint32_t node) {
    std::vector<std::uint32_t>& children = tree_.nodes[node].children;
    const auto isMerge = [&](std::uint32_t key) {
      return tree_.nodes[key].plain && tree_.nodes[key].text == "<<";
    };
    std::size_t at = 0;
    while (at < children.size() && !isMerge(children[at])) {
      at += 2;
    }
    if (at >= children.size()) {
      return;
    }
    const std::uint32_t merged = children[at + 1];
    const auto first = children.begin() + static_cast<std::ptrdiff_t>(at);
    children.erase(first, first + 2);
    if (tree_.nodes[merged].kind == YamlTree::Kind::kSequence) {
      for (const std::uint32_t map : tree_.nodes[merged].children) {
        mergeFrom(map, node);
      }
    } else {
      mergeFrom(merged, node);
    }
  }

  void mergeFrom(std::uint32_t map, std::uint32_t into) {
    const YamlTree::Node& from = tree_.nodes[map];
    if (from.kind != YamlTree::Kind::kMap) {
      throw Stop{from.line, from.column, "expected a mapping to merge, or a sequence of them"};
    }
    count(from.line, from.column, from.weight);
    std::map<std::string, int>& known = open_.back().key_lines;
    for (std::size_t i = 0; i < from.children.size(); i += 2) {
      const YamlTree::Node& key = tree_.nodes[from.children[i]];
      if (known.try_emplace(key.text, key.line).second) {
        tree_.nodes[into].children.push_back(from.children[i]);
        tree_.nodes[into].children.push_back(from.children[i + 1]);
      }
    }
  }

  // Puts a finished node where it belongs.
  void place(std::uint32_t index) {
    if (open_.empty()) {
      tree_.root = index;
      return;
    }
    Open& parent = open_.back();
    std::vector<std::uint32_t>& siblings = tree_.nodes[parent.node].children;
    if (tree_.nodes[parent.node].kind != YamlTree::Kind::kMap) {
      siblings.push_back(index);
    } else if (parent.skip_value) {
      parent.skip_value = false;
    } else if (siblings.size() % 2 == 1) {
      siblings.push_back(index);
    } else {
      placeKey(parent, siblings, index);
    }
  }

  void placeKey(Open& parent, std::vector<std::uint32_t>& siblings, std::uint32_t index) {
    const YamlTree::Node& key = tree_.nodes[index];
    if (key.kind != YamlTree::Kind::kScalar) {
      throw Stop{key.line, key.column, "expected a key that is a word"};
    }
    const auto [first, inserted] = parent.key_lines.try_emplace(key.text, key.line);
    if (inserted) {
      siblings.push_back(index);
      return;
    }
    tree_.note(key, "duplicate key " + quoted(key.text) + ", first on line " +
                        std::to_string(first->second));
    parent.skip_value = true;
  }

  YamlTree& tree_;
  const YamlDocument::Options& options_;
  bool started_ = false;
  std::size_t count_ = 0;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, std::uint32_t> anchors_;
};

// yaml-cpp takes U+0004 for the end of the text and NULs for UTF-16, silently. YAML allows no
// control characters but these three.
std::optional<Stop> findControlCharacter(std::string_view text) {
  Stop at{1, 1, "expected text, found a control character"};
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') {
      return at;
    }
    at.column = c == '\n' ? 1 : at.column + 1;
    at.line += c == '\n' ? 1 : 0;
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<YamlTree>> parseYamlTree(std::string_view text, const std::string& file_name,
                                                const YamlDocument::Options& options) {
  auto tree = std::make_unique<YamlTree>();
  tree->file = file_name;
  if (text.size() > options.max_size.count) {
    return failure(tree->place(1, 1) + ": expected at most " +
                   std::to_string(options.max_size.count) + " bytes, got " +
                   std::to_string(text.size()));
  }
  if (const auto control = findControlCharacter(text)) {
    return failure(tree->place(control->line, control->column) + ": " + control->message);
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(*tree, options);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    return failure(tree->place(stop.line, stop.column) + ": " + stop.message);
  } catch (const YAML::Exception& error) {
    return failure(tree->place(error.mark.line + 1, error.mark.column + 1) +
                   ": not YAML: " + error.msg);
  } catch (const std::logic_error& error) {
    // Of the standard library's containers and streams, inside yaml-cpp.
    return failure(tree->place(1, 1) + ": not YAML: " + error.what());
  }
  if (tree->nodes.empty()) {
    tree->nodes.emplace_back();
  }
  return tree;
}

}  // namespace penstock
