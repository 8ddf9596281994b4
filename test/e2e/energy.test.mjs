// Whose the joules are: a tree of files stands for Linux' powercap, and what replies and idleness are told adds up to what it says.
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, haveBinary, scratch, Server } from './harness.mjs';
import { chat, startNode } from './pool_scene.mjs';

const options = { skip: haveBinary ? false : 'no binary', timeout: 120_000 };
const kRange = 262_143_328_850;

// Two packages that draw some 60 W together; the first one's counter starts again on the way.
class FakeMeter {
  constructor() {
    this.folder = scratch();
    this.counters = [kRange - 5_000_000, 1_000_000];
    this.counters.forEach((_, i) => {
      mkdirSync(join(this.folder, `intel-rapl:${i}`));
      writeFileSync(join(this.folder, `intel-rapl:${i}`, 'max_energy_range_uj'), `${kRange}\n`);
    });
    this.drawn = 0;
    this.write();
  }
  // Nothing is drawn before, so that whoever opens it begins where it does.
  start() { this.timer = setInterval(() => this.tick(), 2); }
  write() {
    this.counters.forEach((value, i) => {
      const file = join(this.folder, `intel-rapl:${i}`, 'energy_uj');
      writeFileSync(`${file}.new`, `${value}\n`);
      renameSync(`${file}.new`, file);
    });
  }
  tick() {
    this.counters = this.counters.map((value, i) => {
      const more = Math.round((60_000 + 20_000 * Math.random()) * (i + 1) / 2);
      this.drawn += more;
      return (value + more) % kRange;
    });
    this.write();
  }
  stop() { clearInterval(this.timer); }
}

const request = (i) => ({
  model: 'tokengrid-tiny', messages: [{ role: 'user', content: `Tell me a story about ${i} foxes.` }], max_tokens: 20 + 5 * (i % 7), seed: i });

// Joules by part, as the server's metrics say.
async function counted(server) {
  const text = await (await server.fetch('/metrics')).text();
  const of = (part) => Number(new RegExp(`tokengrid:energy_joules_total\\{[^}]*part="${part}"[^}]*\\} (\\S+)`).exec(text)?.[1] ?? NaN);
  return { requests: of('requests'), idle: of('idle'), source: /energy_joules_total\{[^}]*source="(\w+)"/.exec(text)?.[1] };
}

async function shareOut(server, meter) {
  meter.start();
  const replies = (await Promise.all(Array.from({ length: 6 }, async (_, c) => {
    const mine = [];
    for (let i = 0; i < 5; ++i) mine.push(await chat(server, request(5 * c + i)));
    return mine;
  }))).flat();
  meter.stop();
  for (const reply of replies) assert.ok(reply.status === 200 && reply.done && !reply.error, JSON.stringify(reply));
  const told = replies.map((r) => r.usage.tokengrid);
  for (const t of told) assert.equal(t.energy_source, 'measured', JSON.stringify(t));
  const sum = told.reduce((s, t) => s + t.energy_joules, 0);
  // What was drawn last is read within a tick of the idle engine.
  let all;
  await eventually('the last reading', async () => {
    all = await counted(server);
    return Math.abs(all.requests + all.idle - meter.drawn * 1e-6) < 0.01 * meter.drawn * 1e-6;
  }, 5);
  console.log(`${sum.toFixed(2)} J of ${replies.length} replies and ${all.idle.toFixed(2)} J idle; the meter says ${(meter.drawn * 1e-6).toFixed(2)} J`);
  assert.ok(Math.abs(sum - all.requests) <= 0.01 * all.requests, `${sum} J told, ${all.requests} J counted`);
  assert.ok(sum > 0);
}

test('requests of the own engine have what the meter says', options, async (t) => {
  const meter = new FakeMeter();
  const config = join(meter.folder, 'config.toml');
  writeFileSync(config, `[engine]\npowercap = "${meter.folder}"\n`);
  const server = await Server.start({ args: ['--config', config, '--threads', '1'] });
  t.after(() => (meter.stop(), server.kill()));
  await shareOut(server, meter);
  assert.equal((await server.stop()).code, 0);
});

test('and so have those of a node', options, async (t) => {
  const meter = new FakeMeter();
  const tokenFile = join(meter.folder, 'token');
  writeFileSync(tokenFile, 'secret\n');
  const node = await startNode({ name: 'n1', data: scratch(), tokenFile, args: ['--powercap', meter.folder] });
  const config = join(meter.folder, 'config.toml');
  writeFileSync(config, `[pool]\nlocal = false\n[[supplier]]\nname = "n1"\nkind = "node"\naddress = "${node.via}"\ntoken_file = "${tokenFile}"\n`);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => (meter.stop(), Promise.all([server.kill(), node.kill()])));
  await eventually('n1 is up and counts', async () => (await counted(server)).source === 'measured', 10);
  await shareOut(server, meter);
});

test('without a meter a stated power is modelled, and said to be', options, async (t) => {
  const folder = scratch();
  const config = join(folder, 'config.toml');
  writeFileSync(config, '[engine]\npowercap = ""\nwatts = 65\n');
  const server = await Server.start({ args: ['--config', config, '--threads', '1'] });
  t.after(() => server.kill());
  const reply = await chat(server, request(1));
  const { energy_joules: joules, energy_source: source } = reply.usage.tokengrid;
  assert.equal(source, 'modelled');
  assert.ok(joules > 0 && joules < 65 * reply.totalMs / 1000, `${joules} J in ${reply.totalMs} ms`);
  assert.equal((await counted(server)).source, 'modelled');
  assert.equal((await server.stop()).code, 0);
});
