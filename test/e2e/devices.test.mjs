// Several devices of one process as suppliers of one pool: a CPU and an OpenCL device (PoCL in CI) say the same, each within its
// quota, and a device that is lost ends requests with an error or somewhere else, never the process.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundled, root, run, scratch, Server } from './harness.mjs';

process.setMaxListeners(64);
const build = join(root, 'build', 'release');
process.env.POCL_CACHE_DIR ??= join(build, 'pocl');
process.env.TG_OPENCL_CACHE ??= join(build, 'opencl');

const opencl = await run('run', '--backend', 'opencl', '--max-tokens', '1', 'Hello');
const absent = opencl.status === 0 ? false : `no OpenCL device: ${opencl.stderr}`;
const faulty = process.env.FAULTY_OPENCL;

const device = (more = '') => `[[supplier]]\nname = "other"\nkind = "device"\nbackend = "opencl"\nkv_tokens = 2048\n${more}`;

function configured(text) {
  const file = join(scratch(), 'serve.toml');
  writeFileSync(file, text);
  return ['--config', file];
}

async function ask(server, { allow, ...more } = {}) {
  const body = { model: 'tokengrid-tiny', max_tokens: 24, temperature: 0, ...more,
    messages: [{ role: 'user', content: 'Tell me a short story about a fox.' }] };
  const response = await server.fetch('/v1/chat/completions', { body, headers: allow ? { 'x-tokengrid-allow': allow } : {} });
  const reply = await response.json();
  return { status: response.status, reply, text: reply.choices?.[0].message.content,
    by: /supplier=([^;]+)/.exec(response.headers.get('x-tokengrid-route'))?.[1], receipt: reply.usage?.tokengrid?.receipt_id };
}

test('a CPU and an OpenCL device are two suppliers of one pool', { skip: absent }, async () => {
  const server = await Server.start({ args: configured(device()) });
  try {
    const [cpu, other] = [await ask(server, { allow: 'local' }), await ask(server, { allow: 'other' })];
    assert.equal(cpu.status, 200, JSON.stringify(cpu.reply));
    assert.equal(other.status, 200, JSON.stringify(other.reply));
    assert.deepEqual([cpu.by, other.by], ['local', 'other']);
    assert.equal(cpu.text, other.text);
    assert.equal(cpu.reply.usage.tokengrid.nominal_nst, other.reply.usage.tokengrid.nominal_nst, 'one price, whatever the device');
    const receipt = await (await server.fetch(`/v1/receipts/${other.receipt}`)).text();
    assert.match(receipt, /device=other/);
  } finally {
    await server.stop();
  }
});

test('a device alone serves too, and each has a quota of its own', { skip: absent }, async () => {
  const server = await Server.start({ args: configured(`[pool]\nlocal = false\n${device('memory_mib_max = 512\n')}`) });
  try {
    assert.equal((await ask(server)).by, 'other');
  } finally {
    await server.stop();
  }
  const small = configured(device('memory_mib_max = 1\n'));
  const refused = await run('serve', '--port', '0', '--data', scratch(), '--model', bundled, ...small);
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /supplier 'other'.*quota of 1048576/);
});

test('what a device supplier lacks is named', async () => {
  const nameless = configured('[[supplier]]\nname = "x"\nkind = "device"\n');
  const refused = await run('serve', '--port', '0', '--data', scratch(), '--model', bundled, ...nameless);
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /supplier 'x' lacks 'backend'/);
});

test('a lost device is an error, and the pool goes on', { skip: absent || !faulty && 'no faulty loader' }, async () => {
  const lost = join(scratch(), 'lost');
  process.env.TG_OPENCL_LIBRARY = faulty;
  process.env.TG_FAULTY_OPENCL = lost;
  const both = await Server.start({ args: configured(device()) });
  const alone = await Server.start({ args: ['--backend', 'opencl'] });
  try {
    const before = await ask(both, { allow: 'other' });
    assert.equal(before.by, 'other', JSON.stringify(before.reply));
    assert.equal((await ask(alone)).status, 200);
    writeFileSync(lost, '');
    const after = await ask(both, { allow: 'local,other' });
    assert.equal(after.status, 200, JSON.stringify(after.reply));
    assert.equal(after.text, before.text);
    assert.ok((await ask(both, { allow: 'other' })).status >= 500);
    for (let i = 0; i < 2; ++i) {
      const failed = await ask(alone);
      assert.ok(failed.status >= 500, JSON.stringify(failed.reply));
      assert.match(JSON.stringify(failed.reply), /error/);
    }
    assert.equal((await alone.fetch('/metrics')).status, 200, 'the process lives');
    assert.deepEqual((await both.stop()).signal, null);
    assert.deepEqual((await alone.stop()).signal, null);
  } finally {
    delete process.env.TG_OPENCL_LIBRARY;
    delete process.env.TG_FAULTY_OPENCL;
    await both.kill();
    await alone.kill();
  }
});
