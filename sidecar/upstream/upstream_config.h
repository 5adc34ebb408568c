#pragma once

#include "base/yaml.h"
#include "sidecar/model_config.h"
#include "sidecar/truss_config.h"

namespace penstock::sidecar {

// How a model server is configured. Mistakes are noted in the document.

// Truss's section. Keys of it that are Truss's own business are left alone. environment: what the
// config has beside it.
void readDockerServer(const YamlValue& docker_server, Environment environment,
                      UpstreamModel& model);
// Under penstock: the server that is running already.
void readAttached(YamlMap& penstock, UpstreamModel& model);
// Under penstock: what both have. After one of the two above.
void readUpstreamOptions(YamlMap& penstock, UpstreamModel& model);

}  // namespace penstock::sidecar
