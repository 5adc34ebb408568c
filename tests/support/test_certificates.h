#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace penstock {

// Certificates for one test program, made with the openssl program in a directory that is removed
// at the end: an authority, a server (localhost, 127.0.0.1) and a client signed by it, and a
// stranger that signed itself.
class TestCertificates {
 public:
  TestCertificates() {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::runtime_error("cannot make a directory for certificates");
    }
    directory_ = pattern;
    make("ca", "-addext basicConstraints=critical,CA:TRUE");
    const std::string signed_by_ca = "-CA " + file("ca.crt") + " -CAkey " + file("ca.key");
    make("server", signed_by_ca + " -addext subjectAltName=DNS:localhost,IP:127.0.0.1");
    make("client", signed_by_ca);
    make("stranger", "-addext subjectAltName=DNS:localhost,IP:127.0.0.1");
    run("openssl pkcs8 -topk8 -in " + file("server.key") + " -out " + file("locked.key") +
        " -passout pass:secret");
  }
  ~TestCertificates() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  // "ca.crt", "server.crt", "server.key", "client.crt", "client.key", "stranger.crt",
  // "stranger.key", and "locked.key" (the server's, behind a password).
  std::string file(const std::string& name) const { return directory_ / name; }

 private:
  static void run(const std::string& command) {
    if (std::system((command + " 2>/dev/null").c_str()) != 0) {
      throw std::runtime_error("failed: " + command);
    }
  }
  void make(const std::string& name, const std::string& more) const {
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" +
        name + " -keyout " + file(name + ".key") + " -out " + file(name + ".crt") + " " + more);
  }

  std::filesystem::path directory_;
};

}  // namespace penstock
