#include "proxy/settings/runtime_settings.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "proxy/config/dump.h"
#include "proxy/config/settings_patch.h"

namespace penstock::proxy {
namespace {

// "concurrency_target 2 → 4, queue.timeout 600s → 60s".
std::string describe(const ClusterSettings& before, const ClusterSettings& after) {
  const SettingSet changed = difference(before, after);
  std::string text;
  for (const Setting setting : allSettings()) {
    if (changed[indexOf(setting)]) {
      text += fmt::format("{}{} {} → {}", text.empty() ? "" : ", ", nameOf(setting),
                          valueOf(setting, before), valueOf(setting, after));
    }
  }
  return text;
}

}  // namespace

RuntimeSettings::RuntimeSettings(Config file, const Overrides& overrides,
                                 const std::vector<std::unique_ptr<Cluster>>& clusters, Logger& log)
    : file_(std::move(file)), clusters_(clusters), log_(log) {
  PENSTOCK_CHECK(overrides.clusters.size() == file_.clusters.size(),
                 "the overrides go by the clusters of the file");
  for (const SettingsLayer& layer : overrides.clusters) {
    layers_.push_back({.over = layer, .changed = {}});
  }
}

std::optional<std::size_t> RuntimeSettings::find(std::string_view cluster) const {
  const auto it = std::ranges::find(file_.clusters, cluster, &ClusterConfig::name);
  return it == file_.clusters.end()
             ? std::nullopt
             : std::optional(static_cast<std::size_t>(it - file_.clusters.begin()));
}

std::optional<std::string> RuntimeSettings::show(std::string_view cluster) const {
  const auto index = find(cluster);
  return index ? std::optional(dumpSettings(clusters_[*index]->settings())) : std::nullopt;
}

SettingsAnswer RuntimeSettings::change(std::string_view cluster, std::string_view patch) {
  using Result = SettingsAnswer::Result;
  const auto index = find(cluster);
  PENSTOCK_CHECK(index.has_value(), "only the settings of a cluster that exists are changed");
  const ClusterConfig& file = file_.clusters[*index];
  const auto parsed = parseSettingsPatch(patch);
  if (!parsed) {
    return {Result::kInvalid, parsed.error().message};
  }
  Layers& layers = layers_[*index];
  SettingsLayer over = layers.over;
  over.values = overlay(over.values, parsed->set);
  over.given = (over.given | parsed->set.given) & ~parsed->reset;
  const ClusterSettings wanted = overlay(file, over);
  if (const auto why = contradiction(wanted)) {
    return {Result::kInvalid, *why};
  }
  const ClusterSettings before = clusters_[*index]->settings();
  over.given &= difference(file, wanted);
  const bool same = over.given == layers.over.given && wanted == before;
  if (!same) {
    if (const auto kept = keep(*index, over); !kept) {
      log_.error("settings not changed", {{"cluster", cluster}, {"error", kept.error().message}});
      return {Result::kNotKept, kept.error().message};
    }
    layers.over = over;
    layers.changed = (layers.changed | difference(before, wanted)) & over.given;
    apply(*index, wanted, "patch");
  }
  return {wanted == before ? Result::kUnchanged : Result::kAccepted, *show(cluster)};
}

Result<void> RuntimeSettings::keep(std::size_t index, const SettingsLayer& over) const {
  if (file_.admin.overrides_file.empty()) {
    return {};
  }
  std::map<std::string, SettingsLayer> all;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const SettingsLayer& layer = i == index ? over : layers_[i].over;
    if (layer.given.any()) {
      all.emplace(file_.clusters[i].name, layer);
    }
  }
  return writeOverrides(file_.admin.overrides_file, all);
}

void RuntimeSettings::apply(std::size_t index, const ClusterSettings& wanted, std::string_view by) {
  Cluster& cluster = *clusters_[index];
  const ClusterSettings before = cluster.settings();
  if (wanted != before) {
    cluster.changeSettings(wanted);
    log_.info("settings changed",
              {{"cluster", cluster.name()}, {"by", by}, {"changes", describe(before, wanted)}});
  }
}

Result<void> RuntimeSettings::takeOn(Config file) {
  std::vector<ClusterConfig> clusters;
  for (std::size_t i = 0; i < file_.clusters.size(); ++i) {
    const auto it = std::ranges::find(file.clusters, file_.clusters[i].name, &ClusterConfig::name);
    PENSTOCK_CHECK(it != file.clusters.end(), "a reloaded file has the same clusters");
    if (const auto why = contradiction(overlay(*it, layers_[i].over))) {
      return failure(fmt::format(
          "cluster \"{}\": {} (changed settings over the configuration file)", it->name, *why));
    }
    clusters.push_back(*it);
  }
  file_ = std::move(file);
  file_.clusters = std::move(clusters);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    apply(i, overlay(file_.clusters[i], layers_[i].over), "reload");
  }
  return {};
}

SettingSources RuntimeSettings::sources(std::size_t index) const {
  const Layers& layers = layers_[index];
  SettingSources sources{};
  for (std::size_t i = 0; i < kSettings; ++i) {
    sources[i] = layers.changed[i]                              ? SettingSource::kPatch
                 : layers.over.given[i]                         ? SettingSource::kOverrides
                 : file_.clusters[index].settings_given.test(i) ? SettingSource::kFile
                                                                : SettingSource::kDefault;
  }
  return sources;
}

std::string RuntimeSettings::dump() const {
  Config config = file_;
  std::vector<SettingSources> all;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    static_cast<ClusterSettings&>(config.clusters[i]) = clusters_[i]->settings();
    all.push_back(sources(i));
  }
  return dumpConfig(config, all);
}

}  // namespace penstock::proxy
