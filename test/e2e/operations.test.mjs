// What an operator does to a running server: reload its file and certificate, watch it, and take it down.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { bundled, eventually, run, scratch, Server } from './harness.mjs';

const chat = (more = {}) => ({ model: 'tokengrid-tiny', messages: [{ role: 'user', content: 'the secret word is xylophone' }],
  max_tokens: 8, temperature: 0, ...more });
const status = async (server, more) => (await server.fetch('/v1/chat/completions', { body: chat(more) })).status;

test('the configuration reloads on SIGHUP and when its file changes; mistakes change nothing', async () => {
  const file = join(scratch(), 'c.toml');
  writeFileSync(file, '[limits]\nbody_bytes_max = 100000\n');
  const server = await Server.start({ args: ['--config', file] });
  assert.equal(await status(server), 200);
  writeFileSync(file, '[limits]\nbody_bytes_max = 1024\n[model]\nid = "renamed"\n');
  server.process.kill('SIGHUP');
  const big = { messages: [{ role: 'user', content: 'x'.repeat(2000) }] };
  await eventually('the limit is in force', async () => (await status(server, big)) === 413, 3);
  assert.match(server.output, /model\.id has changed; it takes effect at the next start/);
  writeFileSync(file, '[limits]\nbody_bytes_max = 200000\nbody_byte_max = 3\n');
  await eventually('the mistake is named', async () => /line 3: unknown setting 'limits.body_byte_max'; is 'limits.body_bytes_max' meant\?/.test(server.output), 5);
  assert.equal(await status(server, big), 413);
  writeFileSync(file, '[limits]\nbody_bytes_max = 200000\n');
  await eventually('the change is noticed without a signal', async () => (await status(server, big)) !== 413, 5);
  assert.equal((await server.stop()).code, 0);
});

test('mistakes in the file are named with their line', async () => {
  const file = join(scratch(), 'c.toml');
  for (const [text, says] of [['[limits]\nidle_ms = 0\n', /line 2: limits\.idle_ms is 0, not within/],
    ['[log]\nformat = "xml"\n', /line 2: log\.format must be "text" or "json"/], ['[server\n', /line 1: /],
    ['[log]\nrequests = 1\n', /log\.requests must be true or false/], ['[nothing]\nx = 1\n', /unknown setting 'nothing\.x'/],
    ['[telemetry]\notlp_endpoint = "https://x"\n', /must begin with http:\/\//]]) {
    writeFileSync(file, text);
    const done = await run('serve', '--port', '0', '--data', scratch(), '--model', bundled, '--config', file);
    assert.equal(done.status, 1);
    assert.match(done.stderr, says);
  }
});

test('a renewed certificate is served to new connections', async () => {
  const folder = scratch();
  for (const name of ['a', 'b']) {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
      '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)], { stdio: 'ignore' });
  }
  const use = (name) => ['key', 'crt'].forEach((kind) => copyFileSync(join(folder, `${name}.${kind}`), join(folder, `live.${kind}`)));
  use('a');
  const file = join(folder, 'c.toml');
  writeFileSync(file, `[server]\ntls_certificate = "${folder}/live.crt"\ntls_key = "${folder}/live.key"\n`);
  const server = await Server.start({ args: ['--config', file] });
  const subject = () => new Promise((resolve, reject) => {
    const socket = tls.connect({ port: Number(new URL(server.url).port), host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.end();
    });
    socket.on('error', reject);
  });
  assert.equal(await subject(), 'a');
  use('b');
  await eventually('the new certificate is served', async () => (await subject()) === 'b', 5);
  writeFileSync(join(folder, 'live.key'), 'nonsense');
  await eventually('the mistake is logged', async () => /configuration stays as it was: TLS key/.test(server.output), 5);
  assert.equal(await subject(), 'b');
  assert.equal((await server.stop()).code, 0);
});

test('on SIGTERM health turns 503, new requests are told to go, and what runs is finished', async () => {
  const file = join(scratch(), 'c.toml');
  writeFileSync(file, '[server]\ndrain_seconds = 20\ndrain_notice_seconds = 1\n');
  const server = await Server.start({ args: ['--config', file] });
  assert.equal((await server.fetch('/health')).status, 200);
  const long = server.fetch('/v1/chat/completions', { body: chat({ max_tokens: 400, stream: true, ignore_eos: true,
    stream_options: { include_usage: true } }) });
  const stream = (await long).body.getReader();
  const first = await stream.read();
  const exited = server.stop();
  await eventually('health says 503', async () => (await server.fetch('/health')).status === 503, 2);
  // Requests are still served until the notice has passed.
  assert.ok([200, 503].includes(await status(server)));
  let text = Buffer.from(first.value).toString();
  let sawRefusal = false;
  for (;;) {
    const { done, value } = await stream.read();
    if (done) break;
    text += Buffer.from(value).toString();
    if (sawRefusal || !text.length) continue;
    const now = await server.fetch('/v1/chat/completions', { body: chat() }).catch(() => undefined);
    sawRefusal = now?.status === 503;
    if (now) await now.text();
  }
  assert.match(text, /"usage":\{.*\[DONE\]/s, 'the open stream was finished and settled');
  assert.equal((await exited).code, 0);
});

test('logs are JSON, one line per request, and never hold a prompt, a reply or a key', async () => {
  const file = join(scratch(), 'c.toml');
  writeFileSync(file, '[log]\nformat = "json"\nrequests = true\n');
  const server = await Server.start({ args: ['--config', file] });
  const response = await server.fetch('/v1/chat/completions?api_key=hidden', { body: chat() });
  const body = await response.json();
  await server.fetch('/v1/models', { key: 'tg-wrong' });
  let lines;
  await eventually('both are logged', async () => {
    lines = server.output.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    return lines.filter((line) => line.area === 'request').length === 2;
  }, 3);
  const [served, refused] = lines.filter((line) => line.area === 'request');
  assert.equal(served.request_id, response.headers.get('x-request-id'));
  assert.equal(served.path, '/v1/chat/completions');
  assert.equal(served.status, 200);
  assert.equal(served.model, 'tokengrid-tiny');
  assert.equal(served.input_tokens, body.usage.prompt_tokens);
  assert.equal(served.output_tokens, body.usage.completion_tokens);
  assert.equal(served.nominal_nst, body.usage.tokengrid.nominal_nst);
  assert.match(served.key, /^key_/);
  assert.equal(refused.status, 401);
  const logged = server.output.slice(server.output.indexOf('listening on'));
  for (const secret of ['xylophone', server.key, 'tg-wrong', 'hidden', body.choices[0].message.content.slice(0, 12)]) {
    assert.ok(!logged.includes(secret), `the log holds ${secret}`);
  }
  assert.equal((await server.stop()).code, 0);
});

test('metrics go to a collector as OTLP JSON with the names of the conventions', async () => {
  const received = [];
  const collector = http.createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => { text += chunk; });
    request.on('end', () => {
      received.push({ path: request.url, type: request.headers['content-type'], body: JSON.parse(text) });
      response.setHeader('content-type', 'application/json');
      response.end('{}');
    });
  });
  await new Promise((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const file = join(scratch(), 'c.toml');
  writeFileSync(file, `[telemetry]\notlp_endpoint = "http://127.0.0.1:${collector.address().port}/v1/metrics"\ninterval_seconds = 1\n`);
  const server = await Server.start({ args: ['--config', file] });
  assert.equal(await status(server), 200);
  const metrics = (one) => one.body.resourceMetrics[0].scopeMetrics[0].metrics;
  await eventually('the request is counted', async () => received.some((one) => metrics(one).some((m) =>
    m.name === 'gen_ai.server.request.duration' && m.histogram.dataPoints.some((p) => p.count === '1'))), 5);
  const last = received.at(-1);
  assert.equal(last.path, '/v1/metrics');
  assert.equal(last.type, 'application/json');
  const names = metrics(last).map((m) => m.name);
  for (const name of ['gen_ai.client.token.usage', 'gen_ai.server.time_to_first_token', 'gen_ai.server.time_per_output_token']) {
    assert.ok(names.includes(name), name);
  }
  for (const metric of metrics(last)) {
    for (const point of (metric.histogram ?? metric.sum ?? metric.gauge).dataPoints) {
      assert.match(point.timeUnixNano, /^\d{19}$/);
      if (metric.histogram) {
        assert.equal(point.bucketCounts.length, point.explicitBounds.length + 1);
        assert.equal(point.bucketCounts.reduce((sum, n) => sum + Number(n), 0), Number(point.count));
      }
    }
  }
  collector.close();
  collector.closeAllConnections();
  assert.equal((await server.stop()).code, 0);
});
