#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "proxy/cluster/cluster.h"
#include "proxy/config/overrides.h"
#include "proxy/config/settings.h"

namespace penstock::proxy {

// What came of a change of settings.
struct SettingsAnswer {
  enum class Result {
    kAccepted,
    kUnchanged,  // valid, and so already
    kInvalid,
    kNotKept,  // the overrides file could not be written
  };
  Result result;
  // The settings in effect, as JSON; for the last two why nothing was applied.
  std::string text;
};

// The configuration that the proxy runs by, and what operators changed of it since: the file's
// values, the overrides over them, changes over those. A change is first kept in the overrides
// file, if there is one, then put into effect, and is wholly applied or not at all. A value that is
// the file's is no change of it and is not kept. Main loop only.
class RuntimeSettings {
 public:
  // file: as loaded, without overrides, which go by its clusters. clusters: in its order, made from
  // file and overrides together; they and the log outlive this.
  RuntimeSettings(Config file, const Overrides& overrides,
                  const std::vector<std::unique_ptr<Cluster>>& clusters, Logger& log);

  // As JSON; nothing if there is no such cluster.
  std::optional<std::string> show(std::string_view cluster) const;
  // patch: as of parseSettingsPatch. The cluster exists.
  SettingsAnswer change(std::string_view cluster, std::string_view patch);

  // Takes on another version of the file, which differs only in what can change while the proxy
  // runs; overrides and changes stay above it. The error says what these contradict; then nothing
  // has changed.
  Result<void> takeOn(Config file);
  const Config& file() const { return file_; }
  // What /config_dump shows.
  std::string dump() const;

 private:
  struct Layers {
    SettingsLayer over;  // overrides and changes
    SettingSet changed;  // those of them that came by a change
  };

  std::optional<std::size_t> find(std::string_view cluster) const;
  Result<void> keep(std::size_t index, const SettingsLayer& over) const;
  void apply(std::size_t index, const ClusterSettings& wanted, std::string_view by);
  SettingSources sources(std::size_t index) const;

  Config file_;
  std::vector<Layers> layers_;
  const std::vector<std::unique_ptr<Cluster>>& clusters_;
  Logger& log_;
};

}  // namespace penstock::proxy
