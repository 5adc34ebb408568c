#!/usr/bin/env bash
# Sets up, builds, starts penstock-proxy with the quick-start configuration (or the one named), and
# keeps it running until Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

config=${1:-configs/quickstart.yaml}
bin=build/release/bin
log=build/release/penstock-proxy.log
ready_within_s=120
stop_within_s=40

case $config in
  -h | --help)
    echo "usage: scripts/run.sh [CONFIG]   (default: configs/quickstart.yaml)"
    exit 0
    ;;
esac

fail() {
  echo "run: $*" >&2
  exit 1
}

[[ -r $config ]] || fail "cannot read $config"

# The ports that the configuration listens on, one "host:port" a line.
configured_addresses() {
  sed -n 's/#.*//; s/.*address: *"\{0,1\}\([^ ,}"]*:[0-9]\{1,5\}\).*/\1/p' "$config"
}

# The proxy itself says so as well, but only after the build.
check_ports_free() {
  local address port
  while read -r address; do
    port=${address##*:}
    if [[ $port != 0 ]] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      fail "port $port is taken by another program: end that one, or change the address" \
        "\"$address\" in $config"
    fi
  done < <(configured_addresses)
}

# log_field LISTENER: the address at which the proxy said that it listens.
listening_address() {
  sed -n "/\"message\":\"listening\"/{/\"listener\":\"$1\"/s/.*\"address\":\"\([^\"]*\)\".*/\1/p}" \
    "$log" | head -n 1
}

proxy_pid=
stop_proxy() {
  trap - EXIT INT TERM
  [[ -n $proxy_pid ]] || return 0
  kill -TERM "$proxy_pid" 2>/dev/null || true
  local waited=0
  while kill -0 "$proxy_pid" 2>/dev/null; do
    if [[ $waited -ge $((stop_within_s * 10)) ]]; then
      kill -KILL "$proxy_pid" 2>/dev/null || true
    fi
    sleep 0.1
    waited=$((waited + 1))
  done
  wait "$proxy_pid" 2>/dev/null || true
}

check_alive() {
  if ! kill -0 "$proxy_pid" 2>/dev/null; then
    proxy_pid=
    tail -n 20 "$log" >&2
    fail "the proxy ended before it was ready; its last words are above, all of them in $log"
  fi
}

wait_until_ready() {
  local admin='' waited=0
  while true; do
    check_alive
    [[ -n $admin ]] || admin=$(listening_address admin)
    if [[ -n $admin ]] && curl -fsS -o /dev/null "http://$admin/ready" 2>/dev/null &&
      curl -fsS "http://$admin/clusters" 2>/dev/null | grep -q '"state": *"ready"'; then
      break
    fi
    if [[ $waited -ge $((ready_within_s * 10)) ]]; then
      tail -n 20 "$log" >&2
      fail "no replica became ready within $ready_within_s s; see $log"
    fi
    sleep 0.1
    waited=$((waited + 1))
  done
}

scripts/setup.sh
check_ports_free
echo "run: building (the first time takes some minutes)"
mkdir -p build
cmake --preset release >build/configure.log || fail "cmake: see build/configure.log"
cmake --build --preset release --target penstock-proxy penstock-sidecar examples/all

check_ports_free
trap 'stop_proxy; exit 130' INT
trap 'stop_proxy; exit 143' TERM
trap stop_proxy EXIT
# The log is there before it is read: the shell below opens it when it comes to it.
: >"$log"
# In a session of its own, so that Ctrl-C reaches the proxy as one orderly SIGTERM from here; and told
# to end should this script be killed.
PATH=$PWD/$bin:$PATH setsid setpriv --pdeathsig TERM "$bin/penstock-proxy" -c "$config" 2>"$log" &
proxy_pid=$!
wait_until_ready

admin=$(listening_address admin)
ingress=$(sed -n '/"message":"listening"/{/"listener":"admin"/!s/.*"address":"\([^"]*\)".*/\1/p}' "$log" |
  head -n 1)
ingress=${ingress/0.0.0.0/127.0.0.1}
cat <<TEXT

Penstock is ready. Try:

  curl -sS --data-binary @examples/denoise/sample.png -H 'content-type: image/png' \\
    http://$ingress/predict -o denoised.png
  curl -sS http://$admin/clusters
  curl -sS http://$admin/metrics

Requests are logged below, events in $log. Ctrl-C ends it.

TEXT
status=0
wait "$proxy_pid" || status=$?
proxy_pid=
[[ $status -eq 0 ]] || tail -n 20 "$log" >&2
exit "$status"
