// PostgreSQL dies under the pool's load and comes back, twice, or stands still for a while: what was admitted goes on to its end, what comes meanwhile
// is told to come again, and afterwards every reply is charged once, to the last nano-ST, and nothing is held.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, json, run, scratch } from './harness.mjs';
import { chat, PoolScene } from './pool_scene.mjs';

const programs = '/usr/lib/postgresql/15/bin';
const kClients = 10;
// Longer than any number of tries at once lasts.
const kAwayMs = 4_000;
// What who comes first waits at most when PostgreSQL stands still: for an answer that was asked for before (kPostgresAnswerMs of
// src/ledger/postgres_connection.h), then for a new connection (kPostgresConnectMs). All the rest is moments, which on a busy
// machine may be as long as in the other test.
const kAnswerMs = 3_000;
const kConnectMs = 3_000;
const kMomentMs = 2_000;
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
  // All of its processes stand still, as on a machine that swaps or whose disk hangs: they hold their connections and
  // say nothing. SIGCONT: they go on where they were.
  signal(name) {
    const postmaster = Number(readFileSync(`${this.folder}/d/postmaster.pid`, 'utf8').split('\n')[0]);
    const parentOf = (id) => {
      try { return Number(readFileSync(`/proc/${id}/stat`, 'utf8').split(') ').at(-1).split(' ')[1]); } catch { return 0; }
    };
    const children = readdirSync('/proc').filter((id) => /^\d+$/.test(id) && parentOf(id) === postmaster).map(Number);
    for (const id of [postmaster, ...children]) process.kill(id, name);
  }
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
    Object.assign(this, { server, next: 0, replies: [], refusals: [], isOver: false, outage: 0, streaming: new Set() });
    this.clients = Array.from({ length: kClients }, () => this.client());
  }
  async client() {
    while (!this.isOver) {
      const i = this.next++;
      while (!this.isOver) {
        const outage = this.outage;
        const reply = await chat(this.server, request(i), {}, () => this.streaming.add(i));
        this.streaming.delete(i);
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

// A gateway over a ledger in PostgreSQL, with the pool's load on it.
async function startLoaded(t) {
  const postgres = new Postgres();
  const data = scratch();
  writeFileSync(join(data, 'ledger.postgresql'), postgres.address);
  const scene = await PoolScene.start({ namespaces: false, data });
  t.after(() => Promise.all([scene.server, scene.near, scene.far, scene.llama, scene.vllm].map((c) => c.kill())));
  const run = { postgres, data, scene, isGood: false };
  t.after(() => run.isGood || console.log(scene.server.output.slice(-6_000)));
  scene.server.exited.then((how) => run.isGood || console.log('the gateway ended', how));
  for (const name of ['local', 'node-near', 'node-far', 'llama', 'vllm']) {
    await eventually(`${name} is up`, async () => await scene.supplierMetric('up', name) === 1, 20);
  }
  run.load = new Load(scene.server);
  t.after(() => { run.load.isOver = true; });
  return run;
}

// Every reply whole, charged once and to the last nano-ST; every refusal a 503 that says when to come again.
async function checkBooks({ load, data, scene }) {
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
  console.log(`${load.replies.length} replies, ${across} under way when PostgreSQL was lost, ${load.refusals.length} refusals`);
  assert.equal((await scene.stop()).code, 0);
  assert.equal((await json('ledger', 'audit', '--data', data)).holds_open, 0);
}

const options = { skip: existsSync(`${programs}/initdb`) ? false : 'postgresql-15 is not installed', timeout: 240_000 };

test('PostgreSQL is killed and started again under load, and nothing is lost', options, async (t) => {
  const run = await startLoaded(t);
  const { postgres, scene, load } = run;
  let served = 0;
  for (const mode of ['immediate', 'fast']) {
    await eventually('a part is done', () => load.replies.length >= served + 15, 60);
    await eventually('some are under way', () => load.streaming.size >= 2, 60);
    ++load.outage;
    postgres.stop(mode);
    for (let waited = 0; waited < kAwayMs; waited += 500) {
      await sleep(500);
      // All clients may be waiting for the end of what was let in.
      const asked = performance.now();
      const late = await chat(scene.server, request(1_000 + waited));
      assert.equal(late.status, 503, 'nobody new is let in meanwhile');
      assert.ok(performance.now() - asked < kMomentMs, 'and is told so at once');
      load.refusals.push(late);
    }
    postgres.start();
    ++load.outage;
    served = load.replies.length;
  }
  await eventually('it serves as before', () => load.replies.length >= served + 30, 60);
  await load.end();
  await checkBooks(run);
  run.isGood = true;
});

test('PostgreSQL stands still under load: it is given up in seconds, and nothing is lost', options, async (t) => {
  const run = await startLoaded(t);
  const { postgres, scene, load } = run;
  t.after(() => { try { postgres.signal('SIGCONT'); } catch { /* it has ended */ } });
  await eventually('a part is done', () => load.replies.length >= 15, 60);
  await eventually('some are under way', () => load.streaming.size >= 2, 60);
  ++load.outage;
  postgres.signal('SIGSTOP');
  const began = performance.now();
  const asked = [];
  // What comes meanwhile is told to come again: the first after an answer was waited for, then at once.
  while (performance.now() - began < 12_000) {
    const from = performance.now();
    const late = await chat(scene.server, request(2_000 + asked.length));
    assert.equal(late.status, 503, JSON.stringify(late));
    load.refusals.push(late);
    asked.push(performance.now() - from);
    await sleep(250);
  }
  console.log(`refused after ${asked.map((ms) => (ms / 1000).toFixed(1)).join(', ')} s`);
  assert.ok(asked[0] < kAnswerMs + kConnectMs + kMomentMs, `the first was told after ${asked[0]} ms`);
  assert.ok(Math.max(...asked.slice(1)) < kMomentMs, 'the others at once');
  postgres.signal('SIGCONT');
  ++load.outage;
  const served = load.replies.length;
  await eventually('it serves as before', () => load.replies.length >= served + 30, 60);
  await load.end();
  await checkBooks(run);
  run.isGood = true;
});
