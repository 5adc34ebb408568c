// A change of settings: what is taken is shown as something that is taken again and means the same,
// unless its values cannot be together; what is refused is refused with a reason.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "proxy/config/dump.h"
#include "proxy/config/settings_patch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::proxy;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto patch = parseSettingsPatch(text);
  if (!patch) {
    PENSTOCK_CHECK(!patch.error().message.empty(), "a refusal has its reason");
    return 0;
  }
  PENSTOCK_CHECK((patch->set.given & patch->reset).none(), "a setting is set or reset");
  const ClusterSettings settings = overlay(ClusterSettings(), patch->set);
  const auto again = parseSettingsPatch(dumpSettings(settings));
  PENSTOCK_CHECK(again.has_value() == !contradiction(settings), "what is shown is taken");
  PENSTOCK_CHECK(!again || (again->set.given.all() && again->set.values == settings),
                 "what is shown means the same");
  return 0;
}
