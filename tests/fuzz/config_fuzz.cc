// A configuration file: what is taken is shown as a configuration that is taken and means the same;
// what is refused is refused with its place. The document is read as a model's is, too, where keys
// can be merged, and shown as JSON.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/yaml.h"
#include "proxy/config/dump.h"
#include "proxy/config/loader.h"

namespace penstock {
namespace {

void readAny(std::string_view text) {
  YamlDocument::Options options;
  options.merge_keys = true;
  const auto document = YamlDocument::parse(text, "file", options);
  if (!document) {
    PENSTOCK_CHECK(document.error().message.starts_with("file:"), "a mistake has its place");
    return;
  }
  const std::string json = document->root().json();
  PENSTOCK_CHECK(!json.empty(), "every document is JSON");
}

void readConfiguration(std::string_view text) {
  const auto config = proxy::parseConfig(text, "file");
  if (!config) {
    PENSTOCK_CHECK(config.error().message.starts_with("file:"), "a mistake has its place");
    return;
  }
  const std::string shown = proxy::dumpConfig(*config);
  PENSTOCK_CHECK(!shown.empty(), "what is taken is shown");
}

}  // namespace
}  // namespace penstock

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  penstock::readAny(text);
  penstock::readConfiguration(text);
  return 0;
}
