// PostgreSQL dies under the pool's load and comes back, twice: what was admitted goes on to its end, what comes meanwhile
// is told to come again, and afterwards every reply is charged once, to the last nano-ST, and nothing is held.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, json, run, scratch } from './harness.mjs';
import { chat, PoolScene } from './pool_scene.mjs';

const programs = '/usr/lib/postgresql/15/bin';
const kClients = 10;
// Longer than any number of tries at once lasts.
const kAwayMs = 4_000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A cluster of its own behind a unix socket; initdb refuses root.
class Postgres {
  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'tg-pg-'));
    this.user = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : [];
    if (this.user.length > 0) execFileSync('chown', ['postgres:postgres', this.folder]);
    chmodSync(this.folder, 0o755);
    process.on('exit', () => {
      try { this.stop('immediate'); } catch { /* it is down */ }
      rmSync(this.folder, { recursive: true, force: true });
    });
    this.run('initdb', '-A', 'trust', '-U', 'tokengrid', '-E', 'UTF8', '--no-locale', '-D', `${this.folder}/d`);
    this.start();
    this.address = `host=${this.folder} user=tokengrid dbname=postgres`;
  }
  run(program, ...args) {
    const [command, ...rest] = [...this.user, `${programs}/${program}`, ...args];
    execFileSync(command, rest, { cwd: '/', stdio: 'ignore' });
  }
  start() {
    this.run('pg_ctl', 'start', '-w', '-D', `${this.folder}/d`, '-l', `${this.folder}/log`,
      '-o', `-c listen_addresses='' -k ${this.folder}`);
  }
  // immediate: as a crash, in the middle of what it does. fast: sessions are told, and ended.
  stop(mode) { this.run('pg_ctl', 'stop', '-m', mode, '-w', '-D', `${this.folder}/d`); }
}

const request = (i) => ({
  model: 'tokengrid-tiny',
  messages: [{ role: 'user', content: `Count from ${i} on, please.` }],
  max_tokens: 32 + (i * 7) % 40,
  seed: i,
});

// What the ledger moved for each request, by receipt.
async function postsOf(data) {
  const exported = await run('ledger', 'export', '--format', 'jsonl', '--data', data);
  assert.equal(exported.status, 0, exported.stderr);
  const posts = new Map();
  for (const line of exported.stdout.trim().split('\n')) {
    const entry = JSON.parse(line);
    const isPost = entry.kind === 'transfer' && entry.hold_state === 'none' && (entry.flags & 4) !== 0;
    if (isPost) posts.set(entry.correlation, (posts.get(entry.correlation) ?? 0) + Number(entry.amount));
  }
  return posts;
}

// Clients that ask until they are told to stop, as one does that is told to come again.
class Load {
  constructor(server) {
    Object.assign(this, { server, next: 0, replies: [], refusals: [], isOver: false, outage: 0 });
    this.clients = Array.from({ length: kClients }, () => this.client());
  }
  async client() {
    while (!this.isOver) {
      const i = this.next++;
      while (!this.isOver) {
        const outage = this.outage;
        const reply = await chat(this.server, request(i));
        if (reply.status === 200) {
          // An odd number: PostgreSQL is down.
          this.replies.push({ i, began: outage, ended: this.outage, ...reply });
          break;
        }
        this.refusals.push(reply);
        await sleep(Math.min(Number(reply.retryAfter), 1) * 250);
      }
    }
  }
  async end() {
    this.isOver = true;
    await Promise.all(this.clients);
  }
}

test('PostgreSQL is killed and started again under load, and nothing is lost',
  { skip: existsSync(`${programs}/initdb`) ? false : 'postgresql-15 is not installed', timeout: 240_000 }, async (t) => {
    const postgres = new Postgres();
    const data = scratch();
    writeFileSync(join(data, 'ledger.postgresql'), postgres.address);
    const scene = await PoolScene.start({ namespaces: false, data });
    t.after(() => Promise.all([scene.server, scene.near, scene.far, scene.llama, scene.vllm].map((c) => c.kill())));
    let isGood = false;
    t.after(() => isGood || console.log(scene.server.output.slice(-6_000)));
    scene.server.exited.then((how) => isGood || console.log('the gateway ended', how));
    for (const name of ['local', 'node-near', 'node-far', 'llama', 'vllm']) {
      await eventually(`${name} is up`, async () => await scene.supplierMetric('up', name) === 1, 20);
    }
    const load = new Load(scene.server);
    t.after(() => { load.isOver = true; });
    let served = 0;
    for (const mode of ['immediate', 'fast']) {
      await eventually('a part is done', () => load.replies.length >= served + 15, 60);
      ++load.outage;
      postgres.stop(mode);
      for (let waited = 0; waited < kAwayMs; waited += 500) {
        await sleep(500);
        // All clients may be waiting for the end of what was let in.
        const asked = performance.now();
        const late = await chat(scene.server, request(1_000 + waited));
        assert.equal(late.status, 503, 'nobody new is let in meanwhile');
        assert.ok(performance.now() - asked < 2_000, 'and is told so at once');
        load.refusals.push(late);
      }
      postgres.start();
      ++load.outage;
      served = load.replies.length;
    }
    await eventually('it serves as before', () => load.replies.length >= served + 30, 60);
    await load.end();

    for (const reply of load.replies) {
      assert.equal(reply.error, undefined, `${reply.i}: ${reply.error}`);
      assert.ok(reply.done && ['stop', 'length'].includes(reply.finish), `${reply.i} is whole: ${JSON.stringify(reply)}`);
    }
    for (const refusal of load.refusals) {
      assert.equal(refusal.status, 503, refusal.error);
      assert.ok(Number(refusal.retryAfter) >= 1, 'it says when to come again');
      assert.match(refusal.error, /billing_unavailable/);
    }
    const across = load.replies.filter((r) => r.began % 2 === 0 && r.ended > r.began).length;
    assert.ok(across > 0, 'some were under way when it died');
    // At once: what was acknowledged is settled, and what was refused holds nothing.
    await eventually('nothing is held', async () =>
      (await json('account', 'show', 'demo', '--data', data)).held_nst === 0, 10);
    const audit = await json('receipt', 'audit', '--data', data);
    const account = await json('account', 'show', 'demo', '--data', data);
    assert.equal(account.spent_nst, audit.billed);
    assert.equal(audit.pages, load.replies.length, 'a receipt for every reply and for nothing else');
    const posts = await postsOf(data);
    assert.equal(posts.size, load.replies.length);
    for (const { i, usage } of load.replies) {
      assert.equal(posts.get(usage.tokengrid.receipt_id), usage.tokengrid.nominal_nst, `${i} is charged once and exactly`);
    }
    console.log(`${load.replies.length} replies, ${across} under way when PostgreSQL died, ${load.refusals.length} refusals`);
    isGood = true;
    assert.equal((await scene.stop()).code, 0);
    assert.equal((await json('ledger', 'audit', '--data', data)).holds_open, 0);
  });
