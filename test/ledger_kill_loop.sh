#!/usr/bin/env bash
# kill -9 of a process that commits and acknowledges as fast as it can, COUNT times on each store; after each the ledger
# is opened and audited, and at the end every acknowledged transfer and document must be there.
#   test/ledger_kill_loop.sh [COUNT] [STORE]     COUNT: 1000; STORE: log, sqlite, postgresql or * (default)
# The real binary under clients: test/serve_kill_loop.py.
set -euo pipefail
cd "$(dirname "$0")/.."
binary="${LEDGER_TEST:-build/release/ledger_test}"
[ -x "$binary" ] || { echo "no $binary: run ./dev test ledger first" >&2; exit 1; }
TG_CRASH_KILLS="${1:-1000}" "$binary" --gtest_brief=0 --gtest_filter="*LedgerCrash*/${2:-*}"
