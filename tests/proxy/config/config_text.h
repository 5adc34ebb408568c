#pragma once

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "proxy/config/loader.h"

namespace penstock::proxy {

// The least that loads, with a place to put more: lines of a listener, a route and a cluster.
inline std::string minimalText(std::string_view listener = "", std::string_view route = "",
                               std::string_view cluster = "", std::string_view top = "") {
  std::string text;
  text += "listeners:\n";                // line 1
  text += "  - name: ingress\n";         // line 2
  text += "    address: 127.0.0.1:0\n";  // line 3
  text += "    routes:\n";               // line 4
  text += "      - prefix: /\n";         // line 5
  text += "        cluster: m\n";        // line 6
  text += route.empty() ? "" : "        " + std::string(route) + "\n";
  text += listener.empty() ? "" : "    " + std::string(listener) + "\n";
  text += "clusters:\n";
  text += "  - name: m\n";
  text += "    replicas: {static: [127.0.0.1:9000]}\n";
  text += cluster.empty() ? "" : "    " + std::string(cluster) + "\n";
  text += top.empty() ? "" : std::string(top) + "\n";
  return text;
}

// What the loader says about text; "" if it loads.
inline std::string complaint(std::string_view text) {
  const auto config = parseConfig(text, "p.yaml");
  return config ? "" : config.error().message;
}

inline Config load(std::string_view text) {
  auto config = parseConfig(text, "p.yaml");
  EXPECT_TRUE(config) << config.error().message;
  return config.value_or(Config{});
}

}  // namespace penstock::proxy
