"""The gateways of the benchmark: each is started between the load and the mock upstream, on loopback, on one core.

A Path has: name, port, pids (whose CPU time counts), headers, model. Rivals are fetched from Debian's archive and npm
into a folder outside the tree; one that cannot be had is left out, and said so.
"""
import os
import re
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEBIAN = ["nginx", "haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0"]
PORTKEY = "@portkey-ai/gateway@1.15.2"
MODEL = "tokengrid-tiny"


# Of a run that measures something else than limits.
WIDE_LIMITS = "connections_max = 20000\nrequests_per_key_max = 20000"


class Unavailable(Exception):
    pass


class Path:
    def __init__(self, name, port, process=None, headers=()):
        self.name, self.port, self.process, self.headers = name, port, process, list(headers)
        self.cleanup = None

    @property
    def pids(self):
        return [self.process.pid] if self.process else []

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.cleanup:
            shutil.rmtree(self.cleanup, ignore_errors=True)


def on_core(core, command):
    return ["taskset", "-c", str(core), *command]


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_line(process, file, pattern, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(file, errors="replace") as f:
            found = re.search(pattern, f.read())
        if found:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    with open(file, errors="replace") as f:
        raise Unavailable(f"no '{pattern}' in its output: {f.read()[-2000:]}")


def wait_for_port(process, port, seconds=30):
    import socket
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Unavailable(f"nothing listens on port {port}")


def spawn(command, log, **more):
    with open(log, "w") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **more)


class Bench:
    """Where tools, binaries and scratch files are, and which core is whose."""

    def __init__(self, tools, binaries, gateway_core=0, load_core=1):
        self.tools = tools
        self.binaries = binaries
        self.gateway_core, self.load_core = gateway_core, load_core
        self.scratch = tempfile.mkdtemp(prefix="gateway-bench-", dir=tools)
        self.count = 0

    def file(self, name):
        return os.path.join(self.scratch, name)

    def fresh(self, stem):
        self.count += 1
        return self.file(f"{stem}-{self.count}")

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def mock(self, *args):
        log = self.fresh("mock")
        command = [os.path.join(self.binaries, "gateway_mock"), "--model", MODEL, *map(str, args)]
        process = spawn(on_core(self.load_core, command), log)
        port = int(wait_for_line(process, log, r"127\.0\.0\.1:(\d+)").group(1))
        return Path("direct", port, process)


def debian_root(bench):
    """nginx, haproxy and what they need beside a plain system, unpacked."""
    root = os.path.join(bench.tools, "debian")
    if not os.path.exists(os.path.join(root, "usr/sbin/haproxy")):
        packages = os.path.join(bench.tools, "packages")
        os.makedirs(packages, exist_ok=True)
        done = subprocess.run(["apt-get", "download", *DEBIAN], cwd=packages, capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable("apt-get download: " + done.stderr.strip()[-300:])
        for package in os.listdir(packages):
            subprocess.run(["dpkg", "-x", os.path.join(packages, package), root], check=True)
    return root


def start_nginx(bench, upstream):
    binary = os.path.join(debian_root(bench), "usr/sbin/nginx")
    folder = bench.fresh("nginx")
    os.makedirs(folder)
    port = free_port()
    with open(os.path.join(folder, "nginx.conf"), "w") as f:
        f.write(f"""daemon off; master_process off; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 24000; }}
worker_rlimit_nofile 65536;
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream mock {{ server 127.0.0.1:{upstream.port}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
""")
    process = spawn(on_core(bench.gateway_core, [binary, "-c", f"{folder}/nginx.conf", "-p", folder]), folder + "/log")
    wait_for_port(process, port)
    return Path("nginx", port, process)


def start_haproxy(bench, upstream):
    root = debian_root(bench)
    folder = bench.fresh("haproxy")
    os.makedirs(folder)
    port = free_port()
    with open(os.path.join(folder, "haproxy.cfg"), "w") as f:
        f.write(f"""global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  option http-no-delay
  http-reuse always
frontend front
  bind 127.0.0.1:{port} backlog 4096
  default_backend back
backend back
  server mock 127.0.0.1:{upstream.port}
""")
    environment = dict(os.environ, LD_LIBRARY_PATH=os.path.join(root, "usr/lib/x86_64-linux-gnu"))
    command = [os.path.join(root, "usr/sbin/haproxy"), "-db", "-f", f"{folder}/haproxy.cfg"]
    process = spawn(on_core(bench.gateway_core, command), folder + "/log", env=environment)
    wait_for_port(process, port)
    return Path("haproxy", port, process)


def start_portkey(bench, upstream):
    home = os.path.join(bench.tools, "portkey")
    script = os.path.join(home, "node_modules/@portkey-ai/gateway/build/start-server.js")
    if not os.path.exists(script):
        done = subprocess.run(["npm", "install", "--prefix", home, "--no-audit", "--no-fund", "--loglevel=error", PORTKEY],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable("npm install: " + done.stderr.strip()[-300:])
    port = free_port()
    log = bench.fresh("portkey")
    environment = dict(os.environ, NODE_ENV="production")
    process = spawn(on_core(bench.gateway_core, ["node", script, f"--port={port}", "--headless"]), log, env=environment,
                    cwd=home)
    wait_for_port(process, port)
    return Path("portkey", port, process, headers=[
        "x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{upstream.port}/v1",
        "authorization: Bearer none"])


def start_tokengrid(bench, upstream, name="tokengrid", kind="vllm", folder=None, limits=WIDE_LIMITS):
    """The release binary as `serve` starts it: keys, limits, holds, the default ledger, receipts."""
    data = folder or bench.fresh("tokengrid")
    config = bench.fresh("config")
    with open(config, "w") as f:
        f.write(f"""[server]
port = 0
[data]
directory = "{data}"
[pool]
local = false
[first_start]
bundle_st = 1000000000
[limits]
{limits}
[[supplier]]
name = "mock"
kind = "{kind}"
url = "http://127.0.0.1:{upstream.port}"
requests_max = 20000
""")
    log = bench.fresh("log")
    binary = os.path.join(bench.binaries, "apps/tokengrid")
    process = spawn(on_core(bench.gateway_core, [binary, "serve", "--config", config]), log)
    port = int(wait_for_line(process, log, r"listening on http://127\.0\.0\.1:(\d+)").group(1))
    wait_for_line(process, log, r"is up")
    with open(os.path.join(data, "first-key")) as f:
        key = f.read().strip()
    return Path(name, port, process, headers=[f"authorization: Bearer {key}"])


def start_tokengrid_in_memory(bench, upstream):
    """The same with its data on a file system in memory: commits wait for no disk."""
    folder = tempfile.mkdtemp(prefix="gateway-bench-", dir="/dev/shm")
    path = start_tokengrid(bench, upstream, name="tokengrid, no disk", folder=os.path.join(folder, "data"))
    path.cleanup = folder
    return path


def start_parts(bench, upstream=None, name="parts", metering=True, chunk_ms=0):
    """gateway_parts: the same gateway with metering or supplier exchanged."""
    log = bench.fresh("parts")
    command = [os.path.join(bench.binaries, "gateway_parts"), "--data", bench.fresh("parts-data"), "--chunk-ms",
               str(chunk_ms)]
    if upstream:
        command += ["--upstream", f"http://127.0.0.1:{upstream.port}"]
    if not metering:
        command.append("--no-metering")
    process = spawn(on_core(bench.gateway_core, command), log, cwd=ROOT)
    port = int(wait_for_line(process, log, r"listening on http://127\.0\.0\.1:(\d+)").group(1))
    if upstream:
        wait_for_line(process, log, r"is up")
    key = wait_for_line(process, log, r"key (\S+)").group(1)
    return Path(name, port, process, headers=[f"authorization: Bearer {key}"])
