// Several gateways on one PostgreSQL: a server, networks that can be cut, directories, clients, and what was charged.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, run, scratch, Server } from './harness.mjs';

export const havePostgres = existsSync('/usr/lib/postgresql/15/bin/initdb');
const kSocket = '.s.PGSQL.5432';
export const kFactor = 1000n;  // billed of measured, so that a small model's requests cost something

// A server of the test's own, and its address; it ends with this process.
export async function startPostgres() {
  const shell = spawn(join(root, 'test', 'with_postgres.sh'), ['sh', '-c', 'echo "$TG_LEDGER_POSTGRES"; cat'],
    { env: { ...process.env, TG_POSTGRES_FOLDER: tmpdir() } });
  const exited = new Promise((resolve) => shell.on('exit', resolve));
  const address = await new Promise((resolve, reject) => {
    shell.stdout.once('data', (line) => resolve(String(line).trim()));
    exited.then(() => reject(new Error('postgresql did not start')));
  });
  return { address, stop: () => (shell.stdin.end(), exited) };
}

// The network between a gateway and the server: whole, or cut. Counts what the gateway sends.
export function startNetwork(address) {
  const target = join(/host=(\S+)/.exec(address)[1], kSocket);
  const folder = mkdtempSync(join(tmpdir(), 'tg_net_'));
  const open = new Set();
  let isCut = false;
  let messages = 0;
  const listener = createServer((near) => {
    if (isCut) return near.destroy();
    const far = createConnection(target);
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.on('error', () => {});
      from.on('close', () => (open.delete(from), to.destroy()));
      from.on('data', (bytes) => isCut || to.write(bytes));
    }
    near.on('data', () => { messages += 1; });
  });
  return new Promise((resolve) => listener.listen(join(folder, kSocket), () => resolve({
    address: address.replace(/host=\S+/, `host=${folder}`),
    messages: () => messages,
    // Nothing passes and nobody is told, as when a cable is pulled; then what is new is refused.
    cut: () => { isCut = true; },
    heal: () => {
      for (const socket of open) socket.destroy();
      isCut = false;
    },
    stop: () => {
      for (const socket of open) socket.destroy();
      listener.close();
      rmSync(folder, { recursive: true, force: true });
    },
  })));
}

// `more`: lines of [data].
export function directory(address, bundle, more = '') {
  const data = scratch();
  writeFileSync(join(data, 'config.toml'),
    `[data]\nledger = "postgresql"\n${more}[first_start]\nbundle_st = ${bundle}\n[tariff]\nfactor_ppm = ${kFactor * 1_000_000n}\n`);
  writeFileSync(join(data, 'ledger.postgresql'), `${address}\n`);
  return data;
}

// So that another gateway serves the same keys and accounts.
export function shareKeys(from, to) {
  for (const file of ['gateway.db', 'gateway.db-wal', 'first-key']) {
    if (existsSync(join(from, file))) copyFileSync(join(from, file), join(to, file));
  }
  return to;
}

export const start = (data) => Server.start({ data, args: ['--config', join(data, 'config.toml')] });

// The same question always, so that every request that is whole costs the same.
export async function ask(server, seen) {
  try {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tokengrid-tiny', messages: [{ role: 'user', content: 'Count to ten.' }], max_tokens: 8, temperature: 0 }),
      signal: AbortSignal.timeout(60_000),
    });
    const body = await response.json();
    const { receipt_id: receipt, nominal_nst: work } = body.usage?.tokengrid ?? {};
    seen.push({ status: response.status, receipt, work, code: body.error?.code });
    return response.status;
  } catch (error) {
    seen.push({ status: 0, error });
    return 0;
  }
}

// Asks whichever server `current` says, one request after the other, `pause()` milliseconds between them.
export async function load(current, seen, isOver, pause = () => 0) {
  while (!isOver()) {
    const status = await ask(current(), seen);
    const waits = Math.max(pause(), status === 200 ? 0 : 50);
    if (waits > 0) await new Promise((resolve) => setTimeout(resolve, waits));
  }
}

// Transfers that charged, by request.
export async function postsOf(data) {
  const exported = await run('ledger', 'export', '--format', 'jsonl', '--data', data);
  assert.equal(exported.status, 0, exported.stderr);
  const posts = new Map();
  for (const line of exported.stdout.trim().split('\n')) {
    const entry = JSON.parse(line);
    const isCharge = entry.kind === 'transfer' && entry.hold_state === 'none' && !(entry.flags & 8) && entry.code === 11;
    if (isCharge) posts.set(entry.correlation, (posts.get(entry.correlation) ?? 0n) + BigInt(entry.amount));
  }
  return posts;
}

// What one request costs: a server of its own says it.
export async function costOfOne() {
  const alone = scratch();
  writeFileSync(join(alone, 'config.toml'), `[tariff]\nfactor_ppm = ${kFactor * 1_000_000n}\n`);
  const server = await start(alone);
  assert.equal(await ask(server, []), 200);
  await server.stop();
  const cost = [...(await postsOf(alone)).values()][0];
  assert.ok(cost > 1_000_000_000n, `one request costs ${cost} nano-ST`);
  return cost;
}
