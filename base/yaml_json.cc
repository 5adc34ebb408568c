// A YAML value as JSON text.

#include <algorithm>
#include <array>
#include <cctype>

#include "base/json_escape.h"
#include "base/yaml.h"
#include "base/yaml_tree.h"

namespace penstock {
namespace {

using Kind = YamlTree::Kind;

bool isOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

bool isDigits(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c); });
}

// What is also a JSON number: no leading zeros, digits on both sides of the point, an exponent only
// with a sign (as YAML 1.1 has it, which makes "1e3" a string).
bool isNumber(std::string_view text) {
  if (text.starts_with('-')) {
    text.remove_prefix(1);
  }
  const std::size_t whole = std::min(text.find_first_of(".e"), text.size());
  if (!isDigits(text.substr(0, whole)) || (whole > 1 && text[0] == '0')) {
    return false;
  }
  text.remove_prefix(whole);
  if (text.empty()) {
    return true;
  }
  if (text[0] != '.') {
    return false;
  }
  text.remove_prefix(1);
  const std::size_t mantissa = std::min(text.find_first_of("eE"), text.size());
  if (!isDigits(text.substr(0, mantissa))) {
    return false;
  }
  text.remove_prefix(mantissa);
  return text.empty() ||
         (text.size() > 2 && (text[1] == '+' || text[1] == '-') && isDigits(text.substr(2)));
}

void appendScalar(std::string& out, const YamlTree::Node& node) {
  const std::string& text = node.text;
  if (!node.plain || node.tagged) {
    appendJsonString(out, text);
  } else if (isOneOf(text, {"", "~", "null", "Null", "NULL"})) {
    out += "null";
  } else if (isOneOf(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) {
    out += "true";
  } else if (isOneOf(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) {
    out += "false";
  } else if (isNumber(text)) {
    out += text;
  } else {
    appendJsonString(out, text);
  }
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
        appendJsonString(out, tree.nodes[node.children[i]].text);
        out += ':';
        append(out, tree, node.children[i + 1]);
      }
      out += '}';
      return;
  }
}

}  // namespace

std::string YamlValue::json() const {
  std::string out;
  append(out, *tree_, node_);
  return out;
}

}  // namespace penstock
