"""Configures and starts the replica and the proxies, each with one worker and the same limit."""

import os
import pathlib
from dataclasses import dataclass

import load
import processes

LIMIT = 32
PATHS = ("h2->h2", "h2->h1", "h1->h1")

NGINX_COMMON = """
pid {folder}/{name}.pid;
error_log {folder}/{name}-error.log crit;
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
master_process off;
{user}
{modules}
events {{ worker_connections {connections}; multi_accept on; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_buffer_size 2m;
  client_body_temp_path {folder}/{name}-body;
  proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi;
  scgi_temp_path {folder}/{name}-scgi;
{body}
}}
"""

# The replica reads the whole of an upload before it answers, as a model would.
REPLICA_LOCATIONS = """
    location = /small { default_type text/plain; return 200 "ok\\n"; }
    location = /download { root {folder}; default_type application/octet-stream; }
    location = /upload { default_type text/plain; echo_read_request_body; echo "ok"; }
"""


@dataclass
class Target:
    """Something that can be loaded: one listener of one proxy for one path."""

    name: str
    path: str
    port: int
    program: processes.Program
    takes_uploads: bool = True


def open_files():
    import resource
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def nginx(name, body, folder, modules=""):
    files = open_files()
    config = pathlib.Path(folder) / f"{name}.conf"
    config.write_text(NGINX_COMMON.format(
        folder=folder, name=name, body=body, modules=modules, files=files,
        connections=files - 100, user="user root;" if os.getuid() == 0 else ""))
    return processes.Program(
        name, ["/usr/sbin/nginx", "-e", f"{folder}/{name}-start.log", "-c", config], folder)


class Replica:
    """nginx, answering 3 bytes or 1 MiB, over HTTP/1.1 on one port and HTTP/2 on another."""

    def __init__(self, folder):
        self.h1, self.h2 = processes.free_port(), processes.free_port()
        (pathlib.Path(folder) / "download").write_bytes(os.urandom(1 << 20))
        locations = REPLICA_LOCATIONS.replace("{folder}", str(folder))
        servers = "".join(
            f"  server {{\n    listen 127.0.0.1:{port}{flag} backlog=4096;\n{locations}  }}\n"
            for port, flag in ((self.h1, ""), (self.h2, " http2")))
        self.program = nginx(
            "replica", "  open_file_cache max=10;\n  http2_max_concurrent_streams 256;\n" + servers,
            folder, "load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;")
        for port in (self.h1, self.h2):
            processes.wait_for_port(port, self.program)


def haproxy(folder, replica, limit=LIMIT):
    ports = {path: processes.free_port() for path in PATHS}
    frontends = "".join(
        f"frontend {path[:2]}_{path[-2:]}\n"
        f"  bind 127.0.0.1:{port}{' proto h2' if path[:2] == 'h2' else ''}\n"
        f"  default_backend {path[-2:]}\n" for path, port in ports.items())
    config = pathlib.Path(folder) / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  maxconn {(open_files() - 200) // 2}
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout queue 600s
  http-reuse always
{frontends}
backend h1
  server replica 127.0.0.1:{replica.h1} maxconn {limit}
backend h2
  server replica 127.0.0.1:{replica.h2} maxconn {limit} proto h2
""")
    program = processes.Program("haproxy", ["/usr/sbin/haproxy", "-db", "-f", config], folder)
    return [Target("HAProxy", path, port, program) for path, port in ports.items()]


def nginx_proxy(folder, replica):
    # nginx has no queue: beyond max_conns it answers 502, so it runs without a limit.
    ports = {path: processes.free_port() for path in ("h2->h1", "h1->h1")}
    body = f"""
  upstream replica {{
    server 127.0.0.1:{replica.h1};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_max_temp_file_size 0;
  http2_max_concurrent_streams 256;
  http2_recv_timeout 600s;
  server {{
    listen 127.0.0.1:{ports["h2->h1"]} http2 backlog=4096;
    location / {{ proxy_pass http://replica; }}
  }}
  server {{
    listen 127.0.0.1:{ports["h1->h1"]} backlog=4096;
    location / {{ proxy_pass http://replica; }}
  }}
"""
    program = nginx("nginx", body, folder)
    return [Target("nginx (no limit)", path, port, program) for path, port in ports.items()]


def nghttpx(folder, replica):
    """With the limit, and without: it can only bound what each client connection has at the replica,
    which for HTTP/2 clients adds up to the limit; and then uploads stand still, presumably since those
    that wait take the window that an admitted one on the same connection needs."""
    targets = []
    for name, each in (("nghttpx", LIMIT // load.H2_CLIENTS), ("nghttpx (no limit)", 0)):
        for protocol, port, paths in (("h2", replica.h2, ("h2->h2",)),
                                      ("http/1.1", replica.h1, ("h2->h1", "h1->h1"))):
            listen = processes.free_port()
            program = processes.Program(
                f"nghttpx-{protocol[:2]}-{each}",
                ["/usr/sbin/nghttpx", "--conf=/dev/null", "--single-process", "--workers=1",
                 f"--frontend=127.0.0.1,{listen};no-tls",
                 f"--backend=127.0.0.1,{port};;no-tls;proto={protocol}",
                 f"--backend-connections-per-frontend={each}", "--backlog=4096",
                 "--frontend-http2-read-timeout=600s", "--frontend-keep-alive-timeout=600s",
                 f"--rlimit-nofile={open_files()}",
                 "--errorlog-file=/dev/null"], folder)
            targets += [
                Target(name, path, listen, program, takes_uploads=each == 0)
                for path in paths if each == 0 or path.startswith("h2")]
    return targets


def penstock(folder, replica, binaries, limit=LIMIT):
    ports = {path: processes.free_port() for path in PATHS}
    listeners = "".join(
        f"  - name: {path[:2]}-{path[-2:]}\n    address: 127.0.0.1:{port}\n"
        f"    idle_timeout: 600s\n    preface_timeout: 60s\n"
        f"    routes: [{{ prefix: /, cluster: {path[-2:]} }}]\n" for path, port in ports.items())
    config = pathlib.Path(folder) / f"penstock.yaml"
    config.write_text(f"""
admin: {{ address: 127.0.0.1:0 }}
access_log: {{ path: none }}
listeners:
{listeners}
clusters:
  - name: h1
    concurrency_target: {limit}
    protocol: http1
    queue: {{ max_requests: 20000 }}
    replicas: {{ static: [127.0.0.1:{replica.h1}] }}
  - name: h2
    concurrency_target: {limit}
    protocol: h2
    queue: {{ max_requests: 20000 }}
    replicas: {{ static: [127.0.0.1:{replica.h2}] }}
""")
    program = processes.Program(
        "penstock", [binaries / "penstock-proxy", "-c", config, "--concurrency", "1"], folder)
    return [Target("Penstock", path, port, program) for path, port in ports.items()]


def start_all(folder, replica, binaries):
    """Every proxy that there is; binaries is None to leave Penstock out."""
    targets = haproxy(folder, replica) + nghttpx(folder, replica) + nginx_proxy(folder, replica)
    if binaries is not None:
        targets += penstock(folder, replica, binaries)
    for target in targets:
        processes.wait_for_port(target.port, target.program)
    return targets


def stop_all(targets):
    for program in {target.program.name: target.program for target in targets}.values():
        program.stop()
