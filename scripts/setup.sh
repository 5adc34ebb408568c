#!/usr/bin/env bash
# Installs what building, running and testing Penstock needs: Debian 12 packages, and for the tests
# two packages from PyPI, in a virtual environment of its own.
# Does nothing, and needs no rights, when everything is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: scripts/setup.sh [--test] [--dev] [--fuzz] [--bench]
  --test   also build/test-venv, with the clients that Debian does not have
  --dev    also clang-format-19 and clang-tidy-19
  --fuzz   also clang-19 with libFuzzer, for scripts/fuzz.sh
  --bench  also the proxies and servers that scripts/bench.sh compares with
TEXT
}

build_packages=(
  g++ cmake ninja-build pkg-config lld
  libc-ares-dev libevent-dev libjemalloc-dev libnghttp2-dev libssl-dev libyaml-cpp-dev libboost-dev libfmt-dev
  prometheus-cpp-dev libcli11-dev nlohmann-json3-dev libsimdjson-dev libpng-dev
  libjpeg62-turbo-dev libprotobuf-dev protobuf-compiler
)
test_packages=(
  libgtest-dev libgmock-dev python3 python3-pytest python3-h2 python3-httpx python3-yaml
  python3-pil python3-numpy python3-starlette python3-fastapi python3-pydantic python3-msgpack
  python3-uvicorn python3-requests python3-websockets python3-venv curl openssl ca-certificates
  python3-grpcio python3-protobuf
)
dev_packages=(clang-format-19 clang-tidy-19 ccache)
fuzz_packages=(clang-19 libclang-rt-19-dev)
bench_packages=(
  haproxy nginx-light nghttp2-client nghttp2-proxy nghttp2-server
)

# The oldest versions without known holes in what we use of them, headers and run time alike.
minimum_versions=(
  libc-ares2=1.18.1-3
  libc-ares-dev=1.18.1-3
  libnghttp2-14=1.52.0-1+deb12u3
  libnghttp2-dev=1.52.0-1+deb12u3
  libevent-core-2.1-7=2.1.12-stable-8+deb12u1
  libevent-pthreads-2.1-7=2.1.12-stable-8+deb12u1
  libevent-dev=2.1.12-stable-8+deb12u1
)

fail() {
  echo "setup: $*" >&2
  exit 1
}

installed_version() {
  dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$1" 2>/dev/null |
    sed -n 's/^installed //p' | head -n 1
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "installing packages needs root or sudo; as root, run: $*"
  fi
}

# Prints the packages that are absent.
packages_to_install() {
  local package
  for package in "${packages[@]}"; do
    [[ -n $(installed_version "$package") ]] || echo "$package"
  done
}

# Prints what is too old, as "name version minimum".
too_old() {
  local entry version
  for entry in "${minimum_versions[@]}"; do
    version=$(installed_version "${entry%%=*}")
    if [[ -z $version ]] || dpkg --compare-versions "$version" lt "${entry#*=}"; then
      echo "${entry%%=*} ${version:-absent} ${entry#*=}"
    fi
  done
}

# Minimal installations come without Debian's security archive, where the fixed versions may be.
add_security_archive() {
  local list=/etc/apt/sources.list.d/debian-security.list
  if ! grep -rqs 'bookworm-security' /etc/apt/sources.list /etc/apt/sources.list.d; then
    echo "setup: adding Debian's security archive in $list"
    echo "deb http://deb.debian.org/debian-security bookworm-security main" |
      as_root tee "$list" >/dev/null
  fi
}

check_minimum_versions() {
  local name version minimum
  while read -r name version minimum; do
    [[ -n $name ]] || continue
    fail "$name is $version, but at least $minimum is needed: older ones have known security" \
      "holes in what Penstock uses of them. Is Debian 12's security archive reachable" \
      "(deb http://deb.debian.org/debian-security bookworm-security main)?"
  done <<<"$(too_old)"
}

# Installs without starting the services that come with nginx and the like.
install_packages() {
  local policy=/usr/sbin/policy-rc.d own_policy=false status=0
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    own_policy=true
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq update ||
    status=$?
  if [[ $status -eq 0 ]]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y \
      --no-install-recommends install "$@" </dev/null || status=$?
  fi
  if $own_policy; then
    as_root rm -f "$policy"
  fi
  [[ $status -eq 0 ]] || fail "apt-get could not install: $*"
}

# openai: the newest that goes with Debian 12's httpx and pydantic. kubernetes-validate: the published schemas.
test_venv=build/test-venv
test_venv_packages=(openai==1.30.5 kubernetes-validate==1.37.0)

make_test_venv() {
  local made=$test_venv/made-for
  [[ $(cat "$made" 2>/dev/null) != "${test_venv_packages[*]}" ]] || return 0
  echo "setup: making $test_venv with ${test_venv_packages[*]}"
  rm -rf "$test_venv"
  /usr/bin/python3 -m venv --system-site-packages "$test_venv" &&
    "$test_venv/bin/python" -m pip install --quiet --no-input "${test_venv_packages[@]}" ||
    fail "cannot make $test_venv: is PyPI reachable?"
  echo "${test_venv_packages[*]}" >"$made"
}

packages=("${build_packages[@]}" "${test_packages[@]}")
with_test_venv=false
for argument in "$@"; do
  case $argument in
    --test) with_test_venv=true ;;
    --dev) packages+=("${dev_packages[@]}") ;;
    --fuzz) packages+=("${fuzz_packages[@]}") ;;
    --bench) packages+=("${bench_packages[@]}") ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done

command -v dpkg-query >/dev/null || fail "this is not Debian; Penstock is built on Debian 12"
mapfile -t wanted <<<"$(packages_to_install | sort -u)"
if [[ -n ${wanted[0]} ]]; then
  echo "setup: installing ${wanted[*]}"
  install_packages "${wanted[@]}"
fi
if [[ -n $(too_old) ]]; then
  add_security_archive
  mapfile -t wanted <<<"$(too_old | cut -d ' ' -f 1)"
  install_packages "${wanted[@]}"
fi
check_minimum_versions
if $with_test_venv; then
  make_test_venv
fi
