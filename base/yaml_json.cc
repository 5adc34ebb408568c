// A YAML value as JSON text.

#include "base/json_escape.h"
#include "base/yaml.h"
#include "base/yaml_scalar.h"
#include "base/yaml_tree.h"

namespace penstock {
namespace {

using Kind = YamlTree::Kind;

void appendScalar(std::string& out, const YamlTree::Node& node) {
  if (node.plain && !node.tagged) {
    out += YamlScalar::plain(node.text).json();
  } else {
    appendJsonString(out, node.text);
  }
}

// JSON has no keys but strings: `yes:` is "true".
void appendKey(std::string& out, const YamlTree::Node& node) {
  const bool typed = node.plain && !node.tagged;
  appendJsonString(out, typed ? YamlScalar::plain(node.text).pythonText() : node.text);
}

void append(std::string& out, const YamlTree& tree, std::uint32_t index) {
  const YamlTree::Node& node = tree.nodes[index];
  switch (node.kind) {
    case Kind::kNull:
      out += "null";
      return;
    case Kind::kScalar:
      appendScalar(out, node);
      return;
    case Kind::kSequence:
      out += '[';
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        out += i == 0 ? "" : ",";
        append(out, tree, node.children[i]);
      }
      out += ']';
      return;
    case Kind::kMap:
      out += '{';
      for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
        out += i == 0 ? "" : ",";
        appendKey(out, tree.nodes[node.children[i]]);
        out += ':';
        append(out, tree, node.children[i + 1]);
      }
      out += '}';
      return;
  }
}

}  // namespace

YamlScalar YamlValue::scalar() const {
  const YamlTree::Node& node = tree_->nodes[node_];
  if (node.kind == Kind::kNull) {
    return {YamlScalar::Null()};
  }
  return node.plain && !node.tagged ? YamlScalar::plain(node.text) : YamlScalar{node.text};
}

std::string YamlValue::json() const {
  std::string out;
  append(out, *tree_, node_);
  return out;
}

}  // namespace penstock
