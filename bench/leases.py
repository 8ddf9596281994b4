#!/usr/bin/env python3
"""What a request costs with leases, against one that asks PostgreSQL, and against the log alone.

  test/with_postgres.sh bench/leases.py [--requests 300] [--rounds 3] [--clients 1] [--binary build/tokengrid]

One server for each of `log`, `postgresql` and `leases` (the same PostgreSQL), the bundled model, one token of reply. The
servers take turns, a block of requests each, so that what else the machine does meets all alike. Reported per
request: the client's p50 and p99 on kept connections, CPU time of the server's process, and of PostgreSQL's while its block ran.
"""
import argparse
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BODY = json.dumps({"model": "tokengrid-tiny", "max_tokens": 1, "temperature": 0,
                   "messages": [{"role": "user", "content": "Hi"}]})
CONFIGS = {"log": "", "postgresql": 'ledger = "postgresql"\n', "leases": 'ledger = "postgresql"\nleases = true\n'}


class Server:
    def __init__(self, binary, name, folder):
        self.name, self.data = name, os.path.join(folder, name)
        os.mkdir(self.data)
        with open(self.data + "/config.toml", "w", encoding="utf8") as file:
            file.write(f"[data]\n{CONFIGS[name]}[first_start]\nbundle_st = 900000000\n")
        with open(self.data + "/ledger.postgresql", "w", encoding="utf8") as file:
            file.write(os.environ["TG_LEDGER_POSTGRES"] + "\n")
        if name == "log":
            os.unlink(self.data + "/ledger.postgresql")
        self.process = subprocess.Popen(
            [binary, "serve", "--quiet", "--port", "0", "--threads", "1", "--data", self.data, "--config",
             self.data + "/config.toml"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            found = re.match(r"listening on http://127\.0\.0\.1:(\d+)$", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            sys.exit(f"{name} did not start")
        with open(self.data + "/first-key", encoding="utf8") as file:
            self.key = file.read().strip()
        self.latencies, self.cpu, self.database = [], 0.0, 0.0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def cpu_of(pid):
    """Seconds that the threads it has now were on a CPU, to the nanosecond."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="utf8") as file:
                total += int(file.read().split()[0])
    except OSError:
        pass
    return total / 1e9


def postgres_processes():
    socket = re.search(r"host=(\S+)", os.environ["TG_LEDGER_POSTGRES"]).group(1)
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf8") as file:
                command = file.read()
            with open(f"/proc/{pid}/stat", encoding="utf8") as file:
                parent = file.read().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        if socket in command and "postgres" in command.split("\0")[0]:
            found.add(pid)
        elif command.startswith("postgres:"):
            found.add((pid, parent))
    masters = {p for p in found if isinstance(p, str)}
    return masters | {p[0] for p in found if isinstance(p, tuple) and p[1] in masters}


def ask(server, count, out):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for _ in range(count):
        begun = time.monotonic()
        connection.request("POST", "/v1/chat/completions", BODY,
                           {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            sys.exit(f"{server.name}: {response.status} {body[:300]}")
        out.append(time.monotonic() - begun)
    connection.close()


def block(server, options):
    before, database = cpu_of(server.process.pid), sum(map(cpu_of, postgres_processes()))
    threads = [threading.Thread(target=ask, args=(server, options.requests // options.clients, server.latencies))
               for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.cpu += cpu_of(server.process.pid) - before
    server.database += sum(map(cpu_of, postgres_processes())) - database


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300, help="of a block")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--binary", default=os.path.join(os.path.dirname(__file__), "..", "build", "tokengrid"))
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="tokengrid-leases-", dir=os.getcwd())
    servers = []
    try:
        for name in CONFIGS:
            servers.append(Server(options.binary, name, folder))
        for server in servers:
            ask(server, 20, [])
        for _ in range(options.rounds):
            for server in servers:
                block(server, options)
        print(f"{options.clients} client(s), {options.rounds} x {options.requests} requests each, taking turns")
        print(f"{'ledger':<12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'PostgreSQL CPU us':>19}")
        for server in servers:
            times = sorted(server.latencies)
            count = len(times)
            print(f"{server.name:<12}{times[count // 2] * 1e3:>9.2f}{times[count * 99 // 100] * 1e3:>9.2f}"
                  f"{server.cpu / count * 1e6:>9.0f}{server.database / count * 1e6:>19.0f}")
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
