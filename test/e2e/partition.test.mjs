// Two gateways, one buyer, one PostgreSQL, and the network between one gateway and the database cut in the middle of load:
// the budget holds, nothing is charged twice, both recover. Skipped where PostgreSQL is not installed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, json, root, run, scratch, Server } from './harness.mjs';

const havePostgres = existsSync('/usr/lib/postgresql/15/bin/initdb');
const kSocket = '.s.PGSQL.5432';
const kFactor = 1000n;  // billed of measured, so that a small model's requests cost something

// A server of the test's own, and its address; it ends with this process.
async function startPostgres() {
  const shell = spawn(join(root, 'test', 'with_postgres.sh'), ['sh', '-c', 'echo "$TG_LEDGER_POSTGRES"; cat'],
    { env: { ...process.env, TG_POSTGRES_FOLDER: tmpdir() } });
  const exited = new Promise((resolve) => shell.on('exit', resolve));
  const address = await new Promise((resolve, reject) => {
    shell.stdout.once('data', (line) => resolve(String(line).trim()));
    exited.then(() => reject(new Error('postgresql did not start')));
  });
  return { address, stop: () => (shell.stdin.end(), exited) };
}

// The network between a gateway and the server: whole, or cut.
function startNetwork(address) {
  const target = join(/host=(\S+)/.exec(address)[1], kSocket);
  const folder = mkdtempSync(join(tmpdir(), 'tg_net_'));
  const open = new Set();
  let isCut = false;
  const listener = createServer((near) => {
    if (isCut) return near.destroy();
    const far = createConnection(target);
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.on('error', () => {});
      from.on('close', () => (open.delete(from), to.destroy()));
      from.on('data', (bytes) => isCut || to.write(bytes));
    }
  });
  return new Promise((resolve) => listener.listen(join(folder, kSocket), () => resolve({
    address: address.replace(/host=\S+/, `host=${folder}`),
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

function directory(address, bundle) {
  const data = scratch();
  writeFileSync(join(data, 'config.toml'),
    `[data]\nledger = "postgresql"\n[first_start]\nbundle_st = ${bundle}\n[tariff]\nfactor_ppm = ${kFactor * 1_000_000n}\n`);
  writeFileSync(join(data, 'ledger.postgresql'), `${address}\n`);
  return data;
}

const start = (data) => Server.start({ data, args: ['--config', join(data, 'config.toml')] });

// The same question always, so that every request that is whole costs the same.
async function ask(server, seen) {
  try {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tokengrid-tiny', messages: [{ role: 'user', content: 'Count to ten.' }], max_tokens: 8, temperature: 0 }),
      signal: AbortSignal.timeout(60_000),
    });
    const body = await response.json();
    const { receipt_id: receipt, nominal_nst: work } = body.usage?.tokengrid ?? {};
    seen.push({ status: response.status, receipt, work });
    return response.status;
  } catch (error) {
    seen.push({ status: 0, error });
    return 0;
  }
}

async function load(server, seen, isOver) {
  while (!isOver()) {
    const status = await ask(server, seen);
    if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// Transfers that charged, by request.
async function postsOf(data) {
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

test('a partition between two gateways and their PostgreSQL', { skip: !havePostgres && 'postgresql-15 is not installed' }, async (t) => {
  const postgres = await startPostgres();
  t.after(postgres.stop);
  const network = await startNetwork(postgres.address);
  t.after(network.stop);
  const kRequests = 90n;
  // What one costs: a server of its own says it.
  const alone = scratch();
  writeFileSync(join(alone, 'config.toml'), `[tariff]\nfactor_ppm = ${kFactor * 1_000_000n}\n`);
  const server = await start(alone);
  const price = [];
  assert.equal(await ask(server, price), 200);
  await server.stop();
  const cost = [...(await postsOf(alone)).values()][0];
  assert.ok(cost > 1_000_000_000n, `one request costs ${cost} nano-ST`);
  const bundleSt = (kRequests * cost) / 1_000_000_000n;

  const stopping = [];
  t.after(() => stopping.map((s) => s.process.kill('SIGKILL')));
  const near = await start(directory(postgres.address, bundleSt));
  // The other gateway serves the same keys and accounts.
  const farData = directory(network.address, bundleSt);
  for (const file of ['gateway.db', 'gateway.db-wal', 'first-key']) {
    if (existsSync(join(near.data, file))) copyFileSync(join(near.data, file), join(farData, file));
  }
  const far = await start(farData);
  stopping.push(near, far);

  const nearSeen = [];
  const farSeen = [];
  let isOver = false;
  t.after(() => { isOver = true; });
  const clients = [near, near, far, far].map((s) => load(s, s === near ? nearSeen : farSeen, () => isOver));
  const good = (seen) => seen.filter((s) => s.status === 200).length;
  await eventually('both serve', () => good(nearSeen) >= 4 && good(farSeen) >= 4, 60);
  network.cut();
  const nearBefore = good(nearSeen);
  const farAtCut = good(farSeen);
  // The database ends the session of whoever was cut off holding the lock; then the other goes on alone.
  await eventually('the gateway that is not cut off serves on', () => good(nearSeen) >= nearBefore + 6, 60);
  network.heal();
  const farBefore = good(farSeen);
  assert.ok(farBefore - farAtCut <= 2, 'nothing is served without the ledger, but for replies on their way');
  await eventually('the one that was serves again', () => good(farSeen) >= farBefore + 3, 90);
  await eventually('both run out of funds', () =>
    nearSeen.at(-1).status === 402 && farSeen.at(-1).status === 402, 120);
  isOver = true;
  await Promise.all(clients);
  for (const s of [near, far]) assert.equal((await s.stop()).code, 0);
  // A hold in doubt at the cut ends by its time to live; a gateway that starts ends its own at once.
  for (const s of [near, far]) assert.equal((await (await start(s.data)).stop()).code, 0);

  const posts = await postsOf(near.data);
  let spent = 0n;
  for (const [request, amount] of posts) {
    assert.ok(amount <= cost, `${request} was charged ${amount}, one costs ${cost}`);
    spent += amount;
  }
  assert.ok(spent <= BigInt(bundleSt) * 1_000_000_000n, 'the budget holds');
  const acknowledged = [...nearSeen, ...farSeen].filter((s) => s.status === 200);
  // The last ones may have been cut short by the end of the funds.
  for (const { receipt, work } of acknowledged) assert.equal(posts.get(receipt), BigInt(work) * kFactor, `${receipt} was acknowledged`);
  // A reply may have been lost after it was paid: at most those under way at the cut.
  assert.ok(posts.size - acknowledged.length <= 2, `${posts.size} charged, ${acknowledged.length} acknowledged`);
  const audit = await json('ledger', 'audit', '--data', near.data);
  assert.equal(audit.holds_open, 0);
  console.log(`${posts.size} requests charged, ${acknowledged.length} acknowledged (${good(nearSeen)} + ${good(farSeen)}), ` +
    `${bundleSt * 1_000_000_000n - spent} nano-ST of ${bundleSt} ST left`);
});
