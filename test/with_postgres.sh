#!/usr/bin/env bash
# Runs a command with TG_LEDGER_POSTGRES set to the address of an empty database on a PostgreSQL server of its own: a
# new cluster in a temporary folder, a unix socket, nothing on the network; deleted at the end.
#   test/with_postgres.sh build/bench/ledger_bench
# TG_POSTGRES_FOLDER: where (default: below the working directory, so that it is the same disk as the command's).
set -euo pipefail
programs=/usr/lib/postgresql/15/bin
[ -x "$programs/initdb" ] || { echo "postgresql-15 is not installed" >&2; exit 1; }
data="$(mktemp -d "${TG_POSTGRES_FOLDER:-$PWD}/tg_pg_XXXXXX")"
socket="$(mktemp -d --tmpdir tg_pg_XXXXXX)"
as_user=()
if [ "$(id -u)" = 0 ]; then
  # initdb refuses root.
  chown postgres:postgres "$data" "$socket"
  as_user=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi
stop() {
  (cd / && "${as_user[@]}" "$programs/pg_ctl" stop -m immediate -w -D "$data/d" >/dev/null) || true
  rm -rf "$data" "$socket"
}
trap stop EXIT
(
  cd /
  "${as_user[@]}" "$programs/initdb" -A trust -U tokengrid -E UTF8 --no-locale -D "$data/d" >/dev/null
  "${as_user[@]}" "$programs/pg_ctl" start -w -D "$data/d" -l "$data/log" \
    -o "-c listen_addresses='' -k $socket" >/dev/null
)
export TG_LEDGER_POSTGRES="host=$socket user=tokengrid dbname=postgres"
"$@"
