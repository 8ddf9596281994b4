// What is wrong outside gets one clear line inside: files, flags, ports, directories, requests, balances.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bundled, json, run, scratch, Server } from './harness.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

const model = 'tokengrid-tiny';
const messages = [{ role: 'user', content: 'Hello.' }];

// body, status, code, what the message must name
const refused = [
  ['{', 400, null, /JSON/],
  ['[]', 400, null, /object/],
  [new Uint8Array([0x7b, 0x22, 0x6d, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]), 400, null, /UTF-8|JSON/],
  [{ messages }, 400, null, /model/],
  [{ model }, 400, null, /messages/],
  [{ model, messages: [] }, 400, null, /messages/],
  [{ model, messages: [{ role: 'user' }] }, 400, null, /content/],
  [{ model, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }, 400, null, /image/],
  [{ model, messages, temperature: 'hot' }, 400, null, /temperature/],
  [{ model, messages, temperature: 3 }, 400, null, /temperature.*3|3.*temperature/],
  [{ model, messages, top_p: -0.1 }, 400, null, /top_p/],
  [{ model, messages, max_tokens: 0 }, 400, null, /max_tokens/],
  [{ model, messages, n: 1000 }, 400, null, /\bn\b/],
  [{ model, messages, stop: ['a', 'b', 'c', 'd', 'e'] }, 400, null, /stop/],
  [{ model, messages, logit_bias: { x: 1 } }, 400, null, /logit_bias/],
  [{ model: 'nothing', messages }, 404, 'model_not_found', /nothing/],
  [{ model, messages: [{ role: 'user', content: 'word '.repeat(5000) }] }, 400, 'context_length_exceeded', /context/],
  [{ model, messages, response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { not: {} } } } }, 400, null, /response_format.*not/],
  [`{"model":"${model}","x":${'['.repeat(5000)}${']'.repeat(5000)}}`, 400, null, /JSON|deep/i],
];

test('requests: status, code and a message that names the thing', async () => {
  for (const [body, status, code, message] of refused) {
    const response = await server.fetch('/v1/chat/completions', { body });
    const answer = await response.json();
    const what = `${typeof body === 'string' ? body.slice(0, 60) : JSON.stringify(body).slice(0, 80)} -> ${JSON.stringify(answer)}`;
    assert.equal(response.status, status, what);
    assert.match(answer.error.message, message, what);
    assert.ok(!answer.error.message.includes('\n'), what);
    if (code) assert.equal(answer.error.code, code, what);
    assert.ok('type' in answer.error && 'param' in answer.error, what);
  }
  assert.equal((await server.fetch('/v1/chat/completions', { body: { model, messages, max_tokens: 2 } })).status, 200);
});

test('keys, paths, methods, sizes', async () => {
  const body = { model, messages };
  for (const [path, options, status] of [
    ['/v1/chat/completions', { body, key: null }, 401],
    ['/v1/chat/completions', { body, key: 'tg-nope' }, 401],
    ['/v1/models', { key: null }, 401],
    ['/v1/nothing', {}, 404],
    ['/v1/chat/completions', {}, 405],
    ['/v1/receipts/abc', {}, 404],
    ['/v1/chat/completions', { body: 'x'.repeat(20 << 20) }, 413],
  ]) {
    const response = await server.fetch(path, options).catch(() => undefined);
    if (status === 413 && response === undefined) continue;  // Refused while still sending: a reset is fair.
    const answer = await response.json();
    assert.equal(response.status, status, `${path} ${JSON.stringify(answer)}`);
    assert.ok(answer.error.message.length > 5);
  }
});

test('malformed HTTP ends the connection, not the server', async () => {
  const { port } = new URL(server.url);
  for (const bytes of ['GARBAGE\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n',
    'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n', `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(50000)}\r\n`]) {
    await new Promise((resolve) => {
      const socket = net.connect(Number(port), '127.0.0.1', () => socket.write(bytes));
      socket.on('error', resolve);
      socket.on('close', resolve);
      socket.on('data', () => {});
      setTimeout(() => socket.destroy(), 3000).unref();
    });
    assert.equal((await server.fetch('/health')).status, 200);
  }
});

test('an exhausted balance is 402 with the OpenAI shape, and a top-up mends it', async () => {
  const made = await json('key', 'create', 'poor', '--account', 'poor', '--data', server.data);
  const ask = () => server.fetch('/v1/chat/completions', { body: { model, messages, max_tokens: 5 }, key: made.key });
  let response;
  for (let i = 0; i < 100; ++i) {
    response = await ask();
    if (response.status !== 401) break;  // A new key is noticed within a second.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(response.status, 402);
  assert.equal((await response.json()).error.code, 'insufficient_quota');
  assert.equal((await run('account', 'topup', 'poor', '10', '--data', server.data)).status, 0);
  assert.equal((await ask()).status, 200);
  assert.equal((await run('key', 'revoke', made.id, '--data', server.data)).status, 0);
  for (let i = 0; i < 100 && response.status !== 401; ++i) {
    response = await ask();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(response.status, 401);
});

async function oneLine(args, pattern) {
  const done = await run(...args);
  assert.equal(done.status, 1, `${args.join(' ')}: ${done.stderr}${done.stdout}`);
  const lines = done.stderr.trim().split('\n').filter((line) => line.startsWith('tokengrid: '));
  assert.equal(lines.length, 1, done.stderr);
  assert.match(lines[0], pattern);
}

test('files: missing, empty, truncated, corrupt, unknown codec and architecture', async () => {
  const folder = scratch();
  const put = (name, bytes) => { const file = join(folder, name); writeFileSync(file, bytes); return file; };
  const good = readFileSync(bundled);
  const patch = (name, from, to) => {
    const at = good.indexOf(from);
    assert.ok(at > 0);
    const bytes = Buffer.from(good);
    bytes.write(to, at, 'latin1');
    return put(name, bytes);
  };
  await oneLine(['model', 'inspect', join(folder, 'none.gguf')], /none\.gguf/);
  await oneLine(['model', 'inspect', folder], /config\.json is missing/);
  await oneLine(['model', 'inspect', put('empty.gguf', '')], /gguf/i);
  await oneLine(['model', 'inspect', put('text.gguf', 'hello, world, this is no model')], /gguf|magic/i);
  for (const length of [4, 20, 100, 5000, good.length >> 1, good.length - 1]) {
    await oneLine(['run', '-m', put('cut.gguf', good.subarray(0, length)), '--max-tokens', '1', 'x'], /./);
  }
  await oneLine(['model', 'inspect', patch('arch.gguf', 'llama', 'xlama')], /xlama|architecture|metadata/);
  await oneLine(['program', 'verify', put('bad.tgp', 'TGP1 and nothing else that makes sense')], /./);
  await oneLine(['program', 'asm', put('bad.tga', '.tgp 1.0 profile=TEXT\n%x = frobnicate %y\n')], /line 2|frobnicate/);
  await oneLine(['receipt', 'verify', put('bad.txt', 'not a receipt')], /note|receipt/);
  await oneLine(['model', 'synth', '--shape', 'gpt-9', '-o', join(folder, 'x.gguf')], /gpt-9/);
  await oneLine(['model', 'synth', '--shape', 'tiny', '--codec', 'q9_9', '-o', join(folder, 'x.gguf')], /q9_9/);
});

test('serve: port in use, unusable data directory, bad configuration', async () => {
  const { port } = new URL(server.url);
  await oneLine(['serve', '--port', port, '--data', scratch(), '--model', bundled], new RegExp(`${port}`));
  await oneLine(['serve', '--port', '0', '--data', server.data, '--model', bundled], /in use|another process/);
  const file = join(scratch(), 'file');
  writeFileSync(file, '');
  await oneLine(['serve', '--port', '0', '--data', join(file, 'data'), '--model', bundled], /file/);
  await oneLine(['serve', '--port', '0', '--data', '/proc/nothing', '--model', bundled], /\/proc\/nothing/);
  if (process.getuid() !== 0) {  // Permission bits mean nothing to root; /proc above is read-only for everyone.
    const readOnly = join(scratch(), 'ro');
    mkdirSync(readOnly);
    chmodSync(readOnly, 0o555);
    await oneLine(['serve', '--port', '0', '--data', readOnly, '--model', bundled], /ro/);
  }
  const config = join(scratch(), 'c.toml');
  for (const [text, pattern] of [['[server]\nport = "x"\n', /line 2.*port/], ['[server\n', /line 1/],
    ['[server]\nprt = 1\n', /prt/], ['[tariff]\nfactor_ppm = 0\n', /factor_ppm/]]) {
    writeFileSync(config, text);
    await oneLine(['serve', '--config', config, '--data', scratch(), '--model', bundled], pattern);
  }
});

test('a damaged ledger is reported, never overwritten', async () => {
  const data = scratch();
  const first = await Server.start({ data });
  await first.fetch('/v1/chat/completions', { body: { model, messages, max_tokens: 2 } });
  await first.stop();
  const path = join(data, 'ledger.log');
  copyFileSync(path, `${path}.saved`);
  const bytes = readFileSync(path);
  bytes.fill(0x5a, 512, 1536);
  writeFileSync(path, bytes);
  await oneLine(['serve', '--port', '0', '--data', data, '--model', bundled], /ledger/);
  assert.deepEqual(readFileSync(path), bytes);
});
