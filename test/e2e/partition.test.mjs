// Two gateways, one buyer, one PostgreSQL, and the network between one gateway and the database cut in the middle of load:
// the budget holds, nothing is charged twice, both recover. Skipped where PostgreSQL is not installed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costOfOne, directory, havePostgres, kFactor, load, postsOf, shareKeys, start, startNetwork, startPostgres } from './gateways.mjs';
import { eventually, json } from './harness.mjs';

test('a partition between two gateways and their PostgreSQL', { skip: !havePostgres && 'postgresql-15 is not installed' }, async (t) => {
  const postgres = await startPostgres();
  t.after(postgres.stop);
  const network = await startNetwork(postgres.address);
  t.after(network.stop);
  const kRequests = 90n;
  const cost = await costOfOne();
  const bundleSt = (kRequests * cost) / 1_000_000_000n;

  const stopping = [];
  t.after(() => stopping.map((s) => s.process.kill('SIGKILL')));
  const near = await start(directory(postgres.address, bundleSt));
  // The other gateway serves the same keys and accounts.
  const far = await start(shareKeys(near.data, directory(network.address, bundleSt)));
  stopping.push(near, far);

  const nearSeen = [];
  const farSeen = [];
  let isOver = false;
  t.after(() => { isOver = true; });
  const clients = [near, near, far, far].map((s) => load(() => s, s === near ? nearSeen : farSeen, () => isOver));
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
