// Nodes that announce themselves: a gateway without suppliers of its own finds one on NATS and goes on while NATS is dead.
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
