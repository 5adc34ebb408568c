#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock::http {

// The messages of grpc.health.v1, the health check of gRPC servers:
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
inline constexpr std::string_view kGrpcHealthCheckPath = "/grpc.health.v1.Health/Check";

enum class GrpcHealth { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };
// "SERVING"
std::string_view toString(GrpcHealth health);

// A HealthCheckRequest. service: empty for the whole server.
std::string grpcHealthRequest(std::string_view service);
// What a HealthCheckResponse says; none if it is no such message.
std::optional<GrpcHealth> readGrpcHealthResponse(std::string_view message);

}  // namespace penstock::http
