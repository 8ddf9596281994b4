#!/usr/bin/env python3
"""kill -9 of `tokengrid serve` under load, again and again, then an account of every request that was ever made.

  test/serve_kill_loop.py [--kills 1000] [--store log|sqlite|postgresql|leases] [--seed 1] [--binary build/tokengrid]

Each life of the server: clients stream completions with the bundled model and count the tokens that reach them (one
log probability each); at a random moment the process is killed. After the last life a server is started once more and

  - every request whose final usage reached a client has its receipt and its post in the journal: nothing acknowledged is lost;
  - no receipt counts more output tokens than reached the client, and no journal entry charges anything without a receipt:
    nothing is charged beyond what was delivered;
  - no receipt charges more than its hold, and no hold is left that nobody will resolve;
  - `ledger audit` derives every balance again from the journal.

leases: PostgreSQL, with the requests served from the gateway's own ledger; in the end what that charged is charged in the shared
one, and nothing is leased. PostgreSQL and leases: run it under test/with_postgres.sh. Only the standard library is used; 0 is success.
"""
import argparse
import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS = 4
START_SECONDS = 120
# Temperature 0: this reply has no tokens without text (an end of turn counts as a token and has no log probability).
BODY = {
    "model": "tokengrid-tiny", "stream": True, "temperature": 0, "logprobs": True, "stream_options": {"include_usage": True},
    "messages": [{"role": "user", "content": "Tell me a short story about a fox."}],
}


def receipt_id(request_id):
    """What the ledger calls choice 0 of a request: the last 16 bytes of SHA-256."""
    return hashlib.sha256(f"{request_id}/0".encode()).hexdigest()[32:]


class Asked:
    """One request as its client saw it."""

    def __init__(self):
        self.id = ""
        self.tokens = 0
        self.acknowledged = False
        self.error = ""


class Stream:
    """The lines of one chunked HTTP reply, as far as it came."""

    def __init__(self, port, key, body):
        self.buffer = b""
        payload = json.dumps(body).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                            b"Content-Type: application/json\r\nAuthorization: Bearer " + key.encode() +
                            b"\r\nContent-Length: " + str(len(payload)).encode() + b"\r\n\r\n" + payload)

    def lines(self):
        try:
            while True:
                piece = self.socket.recv(65536)
                if not piece:
                    return
                self.buffer += piece
                *whole, self.buffer = self.buffer.split(b"\n")
                yield from whole
        except OSError:
            return
        finally:
            self.socket.close()


def ask(port, key, tokens_max):
    asked = Asked()
    try:
        stream = Stream(port, key, {**BODY, "max_tokens": tokens_max})
    except OSError:
        return asked
    for line in stream.lines():
        line = line.strip()
        if line.lower().startswith(b"x-request-id:"):
            asked.id = line.split(b":", 1)[1].strip().decode()
        if line.startswith(b"HTTP/1.1 ") and not line.startswith(b"HTTP/1.1 200"):
            asked.error = line.decode()
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        for choice in chunk.get("choices", []):
            asked.tokens += len((choice.get("logprobs") or {}).get("content") or [])
        asked.acknowledged = asked.acknowledged or bool(chunk.get("usage"))
    return asked


class Server:
    def __init__(self, options, data):
        self.process = subprocess.Popen(
            [options.binary, "serve", "--quiet", "--port", "0", "--threads", "1", "--data", data, "--config",
             data + "/config.toml"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = ""
        self.url = self.wait_for(re.compile(r"^listening on http://127\.0\.0\.1:(\d+)$", re.M))
        self.port = int(self.url)
        with open(data + "/first-key", encoding="utf8") as file:
            self.key = file.read().strip()

    def wait_for(self, pattern):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            ready, _, _ = select.select([self.process.stdout], [], [], 1)
            if not ready:
                continue
            piece = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            self.output += piece
            found = pattern.search(self.output)
            if found:
                return found.group(1)
            if not piece:
                break
        self.kill()
        raise SystemExit(f"the server did not start:\n{self.output}")

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait()
        self.process.stdout.close()


def live_once(options, data, chance, everything):
    """Starts a server, loads it, kills it; what its clients saw goes to `everything`."""
    server = Server(options, data)
    over = threading.Event()
    lock = threading.Lock()

    def client(seed):
        mine = random.Random(seed)
        while not over.is_set():
            asked = ask(server.port, server.key, mine.randint(1, 40))
            with lock:
                everything.append(asked)
            if not asked.id:
                return

    threads = [threading.Thread(target=client, args=(chance.random(),)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0.005, options.life))
    over.set()
    server.kill()
    for thread in threads:
        thread.join()


def run(options, *arguments):
    done = subprocess.run([options.binary, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


class Checks:
    def __init__(self):
        self.failures = []
        self.counts = {}

    def count(self, name, how_many=1):
        self.counts[name] = self.counts.get(name, 0) + how_many

    def expect(self, condition, text):
        if not condition:
            self.failures.append(text)


def check(everything, receipts, journal, audit):
    """What clients saw against what the server wrote down."""
    checks = Checks()
    by_id = {r["id"]: r for r in receipts}
    seen = {receipt_id(a.id): a for a in everything if a.id}
    posts, holds = {}, {}
    for entry in journal:
        if entry["hold_state"] != "none":
            holds.setdefault(entry["correlation"], []).append(entry)
            checks.count("holds")
            checks.expect(entry["hold_state"] != "pending", f"hold {entry['id']} is still open")
        moves = entry["kind"] == "transfer" and entry["hold_state"] == "none" and not entry["flags"] & 8
        if moves and entry["code"] == 11:
            posts.setdefault(entry["correlation"], []).append(int(entry["amount"]))
    for asked in everything:
        checks.count("requests")
        if asked.error:
            checks.expect(False, f"{asked.id}: {asked.error}")
        if not asked.acknowledged:
            continue
        checks.count("acknowledged")
        receipt = by_id.get(receipt_id(asked.id))
        checks.expect(receipt is not None, f"{asked.id} was acknowledged and has no receipt")
        if receipt:
            checks.expect(receipt["output_tokens"] == asked.tokens,
                          f"{asked.id}: {asked.tokens} tokens came, the receipt says {receipt['output_tokens']}")
            checks.expect(receipt["billed"] > 0, f"{asked.id}: an acknowledged request is free")
    for receipt in receipts:
        checks.count("receipts")
        asked = seen.get(receipt["id"])
        checks.expect(asked is not None, f"receipt {receipt['id']} is of no request that was made")
        if asked:
            checks.expect(receipt["output_tokens"] <= asked.tokens,
                          f"{asked.id}: charged {receipt['output_tokens']} tokens, {asked.tokens} came")
        checks.count("settled_unacknowledged", int(bool(asked) and not asked.acknowledged))
        checks.expect(sum(posts.get(receipt["id"], [])) == receipt["billed"],
                      f"receipt {receipt['id']}: billed {receipt['billed']}, posted {posts.get(receipt['id'])}")
        held = sum(int(h["amount"]) for h in holds.get(receipt["id"], []))
        checks.expect(receipt["billed"] <= held, f"receipt {receipt['id']}: billed more than held")
    for correlation, amounts in posts.items():
        checks.count("posts", len(amounts))
        if correlation in by_id:
            continue
        # A slice that was posted while its stream ran and never closed: it must have been delivered.
        asked = seen.get(correlation)
        checks.count("slices_without_receipt", len(amounts))
        checks.expect(asked is not None and asked.tokens > 0, f"{correlation}: charged, and nothing was delivered")
    checks.expect(audit["holds_open"] == 0, f"{audit['holds_open']} holds are open")
    return checks


def posted(journal):
    """All that was charged: posts of holds, and what was asked for late."""
    return sum(int(e["amount"]) for e in journal
               if e["kind"] == "transfer" and e["hold_state"] == "none" and not e["flags"] & 8 and e["code"] == 11)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--store", default="log")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--life", type=float, default=0.4, help="longest life under load in seconds")
    parser.add_argument("--binary", default=os.path.join(os.path.dirname(__file__), "..", "build", "tokengrid"))
    options = parser.parse_args()
    data = tempfile.mkdtemp(prefix="tokengrid-kill-", dir=os.getcwd())
    leases = options.store == "leases"
    # Where requests are served from.
    own = data + "/leased" if leases else data
    begun = time.monotonic()
    try:
        with open(data + "/config.toml", "w", encoding="utf8") as file:
            kind = 'postgresql"\nleases = true\n' if leases else options.store + '"\n'
            file.write(f'[data]\nledger = "{kind}[first_start]\nbundle_st = 900000000\n')
        if leases or options.store == "postgresql":
            with open(data + "/ledger.postgresql", "w", encoding="utf8") as file:
                file.write(os.environ["TG_LEDGER_POSTGRES"] + "\n")
        chance = random.Random(options.seed)
        everything = []
        for life in range(options.kills):
            live_once(options, data, chance, everything)
            if life % 50 == 49:
                # Also between lives, with nobody there.
                for ledger in {data, own}:
                    run(options, "ledger", "audit", "--data", ledger)
                print(f"{life + 1} kills, {len(everything)} requests, {time.monotonic() - begun:.0f} s", flush=True)
        server = Server(options, data)
        receipts = json.loads(run(options, "receipt", "list", "--json", "--data", data))["receipts"]
        # One that leases gives back when it is told to end.
        server.kill(signal.SIGTERM if leases else signal.SIGKILL)
        audits, journals = [], []
        for ledger in (own, data):
            audits.append(json.loads(run(options, "ledger", "audit", "--json", "--data", ledger)))
            journals.append([json.loads(line) for line in
                             run(options, "ledger", "export", "--format", "jsonl", "--data", ledger).splitlines()])
    finally:
        shutil.rmtree(data, ignore_errors=True)
    checks = check(everything, receipts, journals[0], audits[0])
    checks.expect(audits[1]["holds_open"] == 0, f"{audits[1]['holds_open']} leases are open")
    checks.expect(posted(journals[0]) == posted(journals[1]),
                  f"{posted(journals[0])} was charged here, {posted(journals[1])} in the shared ledger")
    print(f"{options.store}: {options.kills} kills in {time.monotonic() - begun:.0f} s, seed {options.seed}: "
          f"{json.dumps(checks.counts)}")
    for failure in checks.failures[:20]:
        print("FAILED:", failure)
    if checks.failures:
        sys.exit(f"{len(checks.failures)} failures")


if __name__ == "__main__":
    main()
