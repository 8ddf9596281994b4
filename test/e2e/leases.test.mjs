// Gateways that lease from one PostgreSQL: requests are paid without asking it, one that is cut off goes on with what it has
// leased and then says that it cannot, one that dies settles when it comes back, one that never does loses its lease; and
// in the end what buyers were charged is what receipts say, once, within the budget. Skipped where PostgreSQL is not installed.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, costOfOne, directory, havePostgres, kFactor, load, postsOf, shareKeys, start, startNetwork, startPostgres } from './gateways.mjs';
import { eventually, json, run, scratch } from './harness.mjs';

const kRequests = 300n;
const kLeaseRequests = 20n;
const kLeaseSeconds = 14;
const kNano = 1_000_000_000n;
const good = (seen) => seen.filter((s) => s.status === 200).length;
// What requests say that they cost: the first of a gateway more than the others, whose prompt is then cached.
const spentOf = (seen) => seen.filter((s) => s.status === 200).reduce((total, s) => total + BigInt(s.work) * kFactor, 0n);
const sum = (posts) => [...posts.values()].reduce((a, b) => a + b, 0n);

test('leases of gateways on one PostgreSQL', { skip: !havePostgres && 'postgresql-15 is not installed' }, async (t) => {
  const postgres = await startPostgres();
  t.after(postgres.stop);
  const network = await startNetwork(postgres.address);
  t.after(network.stop);
  const cost = await costOfOne();
  const bundleSt = (kRequests * cost) / kNano;
  const more = `leases = true\nlease_st = ${(kLeaseRequests * cost) / kNano}\nlease_seconds = ${kLeaseSeconds}\n`;
  const servers = [];
  t.after(() => servers.map((s) => s.process.kill('SIGKILL')));
  const begin = async (data) => (servers.push(await start(data)), servers.at(-1));
  let near = await begin(directory(postgres.address, bundleSt, more));
  const gone = await begin(shareKeys(near.data, directory(postgres.address, bundleSt, more)));
  const far = await begin(shareKeys(near.data, directory(network.address, bundleSt, more)));
  const demo = () => json('account', 'show', 'demo', '--data', near.data);

  // One is killed with a lease and nothing left to settle, and never comes back.
  const goneSeen = [];
  assert.equal(await ask(gone, goneSeen), 200);
  const firstCharge = BigInt(goneSeen[0].work) * kFactor;
  await eventually('what it spent is settled', async () => BigInt((await demo()).spent_nst) === firstCharge, 30);
  await gone.kill();
  const killed = Date.now();
  const leftBehind = await demo();
  assert.ok(BigInt(leftBehind.leased_nst) > 0n && BigInt(leftBehind.leased_nst) <= kLeaseRequests * cost, JSON.stringify(leftBehind));
  assert.match(leftBehind.settled_at, /^20/);

  // Requests are paid for without the database.
  const nearSeen = [];
  const farSeen = [];
  for (let i = 0; i < 3; ++i) assert.equal(await ask(far, farSeen), 200);
  const asked = network.messages();
  for (let i = 0; i < 30; ++i) assert.equal(await ask(far, farSeen), 200);
  const messages = network.messages() - asked;
  // Without leases a request sends at least four. What is sent is for rounds, which time brings about.
  assert.ok(messages < 60, `${messages} messages to the database for 30 requests`);

  let isOver = false;
  let pause = 300;
  t.after(() => { isOver = true; });
  const client = (current, seen) => load(current, seen, () => isOver, () => pause);
  const clients = [1, 2].flatMap(() => [client(() => near, nearSeen), client(() => far, farSeen)]);
  await eventually('both serve', () => good(nearSeen) >= 4 && good(farSeen) >= 40, 60);

  // Cut off, one goes on with what it has, and says so when that is used up. The other is not touched.
  network.cut();
  const farAtCut = good(farSeen);
  const nearAtCut = good(nearSeen);
  await eventually('cut off, it serves on', () => good(farSeen) >= farAtCut + 8, 60);
  await eventually('the other serves on', () => good(nearSeen) >= nearAtCut + 8, 60);
  await eventually('what was leased is used up or ends', () => farSeen.at(-1).status === 503, 2 * kLeaseSeconds);
  assert.equal(farSeen.at(-1).code, 'billing_unavailable');
  const duringCut = good(farSeen) - farAtCut;
  network.heal();
  const farBefore = good(farSeen);
  await eventually('it serves again', () => good(farSeen) >= farBefore + 3, 90);

  // Killed under load, it comes back with its lease and settles it.
  await near.kill();
  near = await begin(near.data);
  const nearBefore = good(nearSeen);
  await eventually('it serves again after a kill', () => good(nearSeen) >= nearBefore + 3, 60);

  // What the one that is gone had leased is there again when that has ended, for nobody else knows that it is gone.
  await eventually('its lease has ended', () => Date.now() > killed + (kLeaseSeconds + 1) * 1000, kLeaseSeconds + 2);
  pause = 0;
  await eventually('both run out of funds', () => nearSeen.at(-1).status === 402 && farSeen.at(-1).status === 402, 180);
  isOver = true;
  await Promise.all(clients);
  await eventually('nothing is leased when nobody asks', async () => (await demo()).leased_nst === 0, 2 * kLeaseSeconds);
  for (const s of [near, far]) assert.equal((await s.stop()).code, 0);

  const own = await Promise.all([near, far, gone].map((s) => postsOf(join(s.data, 'leased'))));
  const charged = sum(await postsOf(near.data));
  assert.equal(charged, own.reduce((total, posts) => total + sum(posts), 0n), 'what was spent at gateways is charged, once');
  assert.ok(charged <= bundleSt * kNano, 'the budget holds');
  assert.ok(bundleSt * kNano - charged < 4n * cost, `and is used: ${charged} of ${bundleSt} ST, one costs ${cost}`);
  const audit = await json('ledger', 'audit', '--data', near.data);
  assert.equal(audit.holds_open, 0);
  for (const [i, [server, seen]] of [[near, nearSeen], [far, farSeen], [gone, goneSeen]].entries()) {
    assert.equal((await json('ledger', 'audit', '--data', join(server.data, 'leased'))).holds_open, 0);
    for (const { receipt, work } of seen.filter((s) => s.status === 200))
      assert.equal(own[i].get(receipt), BigInt(work) * kFactor, `${receipt} was acknowledged`);
    const { receipts } = await json('receipt', 'list', '--data', server.data);
    assert.equal(receipts.reduce((total, r) => total + BigInt(r.billed), 0n), sum(own[i]), 'receipts say what was charged');
    for (const amount of own[i].values()) assert.ok(amount <= cost);
  }
  const served = good(nearSeen) + good(farSeen) + good(goneSeen);
  console.log(`${served} requests served (${good(nearSeen)} + ${good(farSeen)} + ${good(goneSeen)}), ${duringCut} of them cut off; ` +
    `${messages} messages to the database for 30 requests; ${bundleSt * kNano - charged} nano-ST of ${bundleSt} ST left`);
});

test('budgets, top-ups and refunds with leases', { skip: !havePostgres && 'postgresql-15 is not installed' }, async (t) => {
  const postgres = await startPostgres();
  t.after(postgres.stop);
  const cost = await costOfOne();
  const servers = [];
  t.after(() => servers.map((s) => s.process.kill('SIGKILL')));
  const begin = async (data) => (servers.push(await start(data)), servers.at(-1));
  const more = `leases = true\nlease_st = ${(kLeaseRequests * cost) / kNano}\nlease_seconds = ${kLeaseSeconds}\n`;
  const near = await begin(directory(postgres.address, (20n * cost) / kNano, more));
  const demo = () => json('account', 'show', 'demo', '--data', near.data);
  // Nothing is left; what is topped up is there at once.
  const nearSeen = [];
  while (await ask(near, nearSeen) === 200) assert.ok(spentOf(nearSeen) <= 20n * cost, `${spentOf(nearSeen)} of ${20n * cost}`);
  assert.equal(nearSeen.at(-1).status, 402);
  assert.ok(good(nearSeen) >= 18);
  assert.equal((await run('account', 'topup', 'demo', String((1000n * cost) / kNano), '--data', near.data)).status, 0);
  await eventually('a top-up is served from', async () => await ask(near, nearSeen) === 200, 2);

  // A budget of both gateways together. One that a gateway itself is told is in force when it has answered; of what the
  // command line writes into its file it hears a tenth of a second later, in which it serves twenty requests.
  const budget = 25n * cost;
  const { key } = await json('key', 'create', 'ops', '--account', 'ops', '--scope', 'admin', '--data', near.data);
  await eventually('the admin key is known', async () => (await near.fetch('/admin/v1/health', { key })).status === 200, 2);
  const set = await near.fetch('/admin/v1/projects/demo/budgets/total', { key, method: 'PUT', body: { amount_nst: Number(budget) } });
  assert.equal(set.status, 200, await set.text());
  const far = await begin(shareKeys(near.data, directory(postgres.address, 1, more)));
  const seen = [[], []];
  let isOver = false;
  t.after(() => { isOver = true; });
  const clients = [near, near, far, far].map((s) => load(() => s, seen[s === near ? 0 : 1], () => isOver));
  await eventually('the budget is used up', () => seen.every((s) => s.length > 0 && s.at(-1).code === 'budget_exceeded'), 60);
  isOver = true;
  await Promise.all(clients);
  const within = good(seen[0]) + good(seen[1]);
  const counted = spentOf([...seen[0], ...seen[1]]);
  assert.ok(counted <= budget && budget - counted < 4n * cost, `${counted} of ${budget}`);

  // A receipt is checked down to the ledger's posts, and paid back from what the shared ledger has by then.
  const paid = nearSeen.find((s) => s.status === 200);
  const file = join(scratch(), 'receipt.txt');
  writeFileSync(file, await (await near.fetch(`/v1/receipts/${paid.receipt}`)).text());
  const checked = await json('receipt', 'verify', file, '--data', near.data);
  for (const level of ['signature', 'inclusion', 'arithmetic', 'ledger']) assert.equal(checked[level], 'ok', level);
  const before = await demo();
  const back = (BigInt(paid.work) * kFactor) / 2n;
  const refunded = await run('account', 'refund', paid.receipt, String(back), '--data', near.data);
  assert.equal(refunded.status, 0, refunded.stderr);
  assert.equal(BigInt((await demo()).granted_nst) - BigInt(before.granted_nst), back);

  // The other gateway has it too, with its proof, and pays back the rest; not more than that.
  let copy;
  await eventually('the other gateway has the receipt', async () => (copy = await far.fetch(`/v1/receipts/${paid.receipt}`)).status === 200, 5);
  const copied = join(scratch(), 'copied.txt');
  writeFileSync(copied, await copy.text());
  const verified = await json('receipt', 'verify', copied, '--data', near.data);
  for (const level of ['signature', 'inclusion', 'arithmetic', 'ledger']) assert.equal(verified[level], 'ok', level);
  assert.equal((await far.fetch(`/v1/receipts/${'7'.repeat(32)}`)).status, 404);
  const rest = BigInt(paid.work) * kFactor - back;
  assert.notEqual((await run('account', 'refund', paid.receipt, String(rest + 1n), '--data', far.data)).status, 0);
  const elsewhere = await run('account', 'refund', paid.receipt, String(rest), '--data', far.data);
  assert.equal(elsewhere.status, 0, elsewhere.stderr);
  assert.equal(BigInt((await demo()).granted_nst) - BigInt(before.granted_nst), back + rest);

  // Either gateway's report has what both served, once.
  const used = async (s) =>
    (await (await s.fetch('/v1/usage?bucket=all')).json()).data.reduce((total, row) => total + BigInt(row.charged_nst), 0n);
  for (const s of [near, far])
    await eventually('usage is that of both', async () => await used(s) === spentOf([...nearSeen, ...seen[0], ...seen[1]]), 10);

  for (const s of [near, far]) assert.equal((await s.stop()).code, 0);
  const after = await demo();
  assert.equal(after.leased_nst, 0);
  const own = await Promise.all([near, far].map((s) => postsOf(join(s.data, 'leased'))));
  // What requests posted is also on the budget; buyers' accounts have it once.
  const spent = spentOf([...nearSeen, ...seen[0], ...seen[1]]);
  assert.equal(BigInt(after.spent_nst), spent);
  assert.equal(sum(own[0]) + sum(own[1]), spent + counted);
  assert.equal((await json('ledger', 'audit', '--data', near.data)).holds_open, 0);
  console.log(`${good(nearSeen)} requests, then ${within} of two gateways within a budget of 25`);
});

// A metric's value, by its whole name with labels.
const metric = async (server, name) => {
  const page = await (await server.fetch('/metrics')).text();
  const line = page.split('\n').find((l) => l.startsWith(`${name} `));
  assert.ok(line, `${name} is on /metrics`);
  return BigInt(line.slice(name.length + 1));
};

test('a gateway starts while the database is away', { skip: !havePostgres && 'postgresql-15 is not installed' }, async (t) => {
  const postgres = await startPostgres();
  t.after(postgres.stop);
  const network = await startNetwork(postgres.address);
  t.after(network.stop);
  const cost = await costOfOne();
  const bundleSt = (1000n * cost) / kNano;
  const leaseSeconds = 30;
  const more = `leases = true\nlease_st = ${(kLeaseRequests * cost) / kNano}\nlease_seconds = ${leaseSeconds}\n`;
  const servers = [];
  t.after(() => servers.map((s) => s.process.kill('SIGKILL')));
  const begin = async (data) => (servers.push(await start(data)), servers.at(-1));
  const data = directory(network.address, bundleSt, more);
  const seen = [];
  let server = await begin(data);
  for (let i = 0; i < 3; ++i) assert.equal(await ask(server, seen), 200);
  await eventually('what is leased is on /metrics', async () => await metric(server, 'tokengrid:lease_leased{ledger="standard"}') > cost, 5);
  assert.equal(await metric(server, 'tokengrid:shared_ledger_up'), 1n);
  assert.equal(await metric(server, 'tokengrid:lease_lost_total{ledger="standard"}'), 0n);
  assert.ok(await metric(server, 'tokengrid:lease_rounds_total') >= 1n);

  // Killed with a lease and started again, it serves what is left of that and no more.
  network.cut();
  await server.kill();
  server = await begin(data);
  const before = good(seen);
  while (await ask(server, seen) === 200) assert.ok(good(seen) - before <= 2 * Number(kLeaseRequests));
  const away = good(seen) - before;
  assert.ok(away >= 8, `${away} requests from what was leased`);
  assert.equal(seen.at(-1).status, 503);
  assert.equal(seen.at(-1).code, 'billing_unavailable');
  await eventually('and says that the database is away', async () => await metric(server, 'tokengrid:shared_ledger_up') === 0n, 10);
  assert.ok(await metric(server, 'tokengrid:lease_failures_total') >= 1n);
  const refused = await run('account', 'show', 'demo', '--data', data);
  assert.notEqual(refused.status, 0, 'balances are the shared ledger\'s, which nobody can ask');

  network.heal();
  await eventually('it serves again', async () => await ask(server, seen) === 200, 30);
  await eventually('and says that the database is there', async () => await metric(server, 'tokengrid:shared_ledger_up') === 1n, 30);
  assert.equal((await server.stop()).code, 0);
  const charged = sum(await postsOf(data));
  assert.equal(charged, sum(await postsOf(join(data, 'leased'))));
  assert.equal(charged, spentOf(seen));
  assert.equal((await json('ledger', 'audit', '--data', data)).holds_open, 0);
  console.log(`${away} requests from a lease while the database was away`);

  // One that never leased anything has nothing to serve: it says so and does not start.
  network.cut();
  const empty = directory(network.address, bundleSt, more);
  const fresh = await run('serve', '--config', join(empty, 'config.toml'), '--data', empty, '--port', '0');
  assert.notEqual(fresh.status, 0);
  assert.match(fresh.stderr, /postgresql: connect/);
});
