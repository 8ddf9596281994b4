// Nodes that announce themselves: a gateway without suppliers of its own finds them on NATS, goes on while NATS is dead, and
// has every record of supply on NATS' disk in the end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, scratch, Server } from './harness.mjs';
import { chat, startNode } from './pool_scene.mjs';

const nats = ['/usr/sbin/nats-server', '/usr/bin/nats-server'].find(existsSync);

const freePort = () => new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => { const { port } = probe.address(); probe.close(() => resolve(port)); });
});

test('the bus may die: members are kept', { skip: nats ? false : 'nats-server is not installed' }, async () => {
  const folder = scratch();
  const port = await freePort();
  let bus;
  const startBus = () => {
    bus = spawn(nats, ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', join(folder, 'nats')], { stdio: 'ignore' });
  };
  startBus();
  process.on('exit', () => bus.kill('SIGKILL'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'secret\n');
  const url = `nats://127.0.0.1:${port}`;
  const node = await startNode({ name: 'n1', data: scratch(), tokenFile, args: ['--nats', url] });
  const config = join(folder, 'config.toml');
  writeFileSync(config, `[pool]\nlocal = false\nnats = "${url}"\njoin_token_file = "${tokenFile}"\n`);
  const server = await Server.start({ args: ['--config', config] });
  const up = async () => (await (await server.fetch('/metrics')).text()).includes('tokengrid:supplier_up{supplier="n1",zone=""} 1');
  await eventually('n1 has joined', up, 30);
  const ask = (i) => chat(server, { model: 'tokengrid-tiny', messages: [{ role: 'user', content: `What is ${i} + 1?` }], max_tokens: 8 });
  const replies = [await ask(1)];
  bus.kill('SIGKILL');
  replies.push(await ask(2));
  startBus();
  replies.push(await ask(3));
  for (const reply of replies) {
    assert.equal(reply.status, 200, reply.error);
    assert.ok(reply.done && reply.route.includes('supplier=n1'), reply.route);
  }
  assert.equal((await node.stop()).code, 0);
  await eventually('n1 is gone', async () => !(await up()), 30);
  assert.equal((await server.stop()).code, 0);
  bus.kill('SIGKILL');
});

test('the bus is killed under load: nothing waits for it, and no record is lost', { skip: nats ? false : 'nats-server is not installed' }, async (t) => {
  const folder = scratch();
  const [port, monitor] = [await freePort(), await freePort()];
  let bus;
  const startBus = () => {
    bus = spawn(nats, ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitor), '-js', '-sd', join(folder, 'nats')], { stdio: 'ignore' });
  };
  startBus();
  process.on('exit', () => bus.kill('SIGKILL'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'secret\n');
  const url = `nats://127.0.0.1:${port}`;
  const nodes = await Promise.all(['n1', 'n2'].map((name) => startNode({ name, data: scratch(), tokenFile, args: ['--nats', url] })));
  const config = join(folder, 'config.toml');
  writeFileSync(config, `[pool]\nlocal = false\nnats = "${url}"\njoin_token_file = "${tokenFile}"\n`);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => Promise.all([server, ...nodes].map((c) => c.kill())));
  await eventually('both have joined', async () => await server.metric('tokengrid:supplier_up') === 2, 30);

  const replies = [];
  let isOver = false;
  let phase = 'before';
  const clients = Array.from({ length: 6 }, async (_, c) => {
    for (let i = 0; !isOver; ++i) {
      const reply = await chat(server, { model: 'tokengrid-tiny', messages: [{ role: 'user', content: `What is ${i} + ${c}?` }], max_tokens: 16 });
      replies.push({ phase, ...reply });
    }
  });
  const served = (during) => replies.filter((r) => r.phase === during).length;
  for (const during of ['before', 'away', 'back', 'away again', 'back again']) {
    phase = during;
    if (during.startsWith('away')) bus.kill('SIGKILL');
    if (during.startsWith('back')) startBus();
    await eventually(`some are served, ${during}`, () => served(during) >= 20, 30);
  }
  isOver = true;
  await Promise.all(clients);
  for (const reply of replies) assert.ok(reply.status === 200 && reply.done && !reply.error, JSON.stringify(reply));
  assert.equal(await server.metric('tokengrid:supplier_up'), 2, 'nobody was lost with it');
  const attempts = await server.metric('tokengrid:supplier_attempts_total');
  const recorded = async () => {
    const jetstream = await (await fetch(`http://127.0.0.1:${monitor}/jsz?streams=true`)).json();
    const streams = (jetstream.account_details ?? []).flatMap((a) => a.stream_detail ?? []);
    return streams.find((s) => s.name === 'TOKENGRID_USAGE')?.state.messages ?? 0;
  };
  await eventually(`${attempts} records`, async () => await recorded() === attempts, 20);
  console.log(`${replies.length} replies, ${served('away') + served('away again')} while the bus was dead, ${attempts} records`);
  for (const child of nodes) assert.equal((await child.stop()).code, 0);
  assert.equal((await server.stop()).code, 0);
  bus.kill('SIGKILL');
});
