// Files and batches with the unmodified `openai` client: results, failures, refusals, and a kill in the middle.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { eventually, json, row, scratch, Server } from './harness.mjs';

const model = 'tokengrid-tiny';
const url = '/v1/chat/completions';
const line = (id, body) => JSON.stringify({ custom_id: id, method: 'POST', url, body });
const ask = (id, more = {}) => line(id, { model, messages: [{ role: 'user', content: `Say ${id}.` }], max_tokens: 8, ...more });
const clientOf = (server) => new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });

let server;
let client;
before(async () => {
  server = await Server.start();
  client = clientOf(server);
});
after(() => server.stop());

const upload = async (lines, by = client) =>
  by.files.create({ file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'), purpose: 'batch' });
const submit = async (lines, by = client) =>
  by.batches.create({ input_file_id: (await upload(lines, by)).id, endpoint: url, completion_window: '24h', metadata: { of: 'e2e' } });
const ended = async (id, by = client) => {
  let batch;
  await eventually(`${id} is over`, async () => ['completed', 'failed', 'cancelled', 'expired'].includes((batch = await by.batches.retrieve(id)).status), 30);
  return batch;
};
const linesOf = async (file, by = client) =>
  (await (await by.files.content(file)).text()).trim().split('\n').map((text) => JSON.parse(text));
const spent = async (data) => (await json('account', 'show', 'demo', '--data', data)).spent_nst;

row('openai', '/v1/batches', 'output, error file, counts, usage, and what the account is charged', async () => {
  const before = await spent(server.data);
  const batch = await submit([ask('one'), ask('bad', { temperature: -1 }), ask('two')]);
  assert.equal(batch.object, 'batch');
  const done = await ended(batch.id);
  assert.equal(done.status, 'completed');
  assert.deepEqual(done.request_counts, { total: 3, completed: 2, failed: 1 });
  assert.deepEqual(done.metadata, { of: 'e2e' });
  const output = await linesOf(done.output_file_id);
  assert.deepEqual(output.map((l) => l.custom_id), ['one', 'two']);
  let nominal = 0;
  let tokens = 0;
  for (const { response, error } of output) {
    assert.equal(error, null);
    assert.equal(response.status_code, 200);
    assert.equal(response.body.object, 'chat.completion');
    nominal += response.body.usage.tokengrid.nominal_nst;
    tokens += response.body.usage.total_tokens;
  }
  assert.equal(done.usage.total_tokens, tokens);
  const [failed] = await linesOf(done.error_file_id);
  assert.equal(failed.custom_id, 'bad');
  assert.equal(failed.response.status_code, 400);
  assert.match(failed.response.body.error.message, /temperature/);
  assert.equal(await spent(server.data) - before, nominal);
});

row('openai', '/v1/files', 'upload, list in pages, retrieve, content, delete', async () => {
  const file = await upload(['{"a":1}']);
  assert.equal(file.bytes, 7);
  assert.equal((await client.files.retrieve(file.id)).filename, 'in.jsonl');
  assert.equal(await (await client.files.content(file.id)).text(), '{"a":1}');
  const ids = [];
  for await (const each of client.files.list({ limit: 1 })) ids.push(each.id);
  assert.ok(ids.includes(file.id) && new Set(ids).size === ids.length);
  assert.equal((await client.files.delete(file.id)).deleted, true);
  await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
  await assert.rejects(client.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'vision' }), OpenAI.BadRequestError);
});

row('openai', '/v1/files', 'expires_after and output_expires_after', async () => {
  const content = await toFile(Buffer.from(ask('one')), 'in.jsonl');
  const file = await client.files.create({ file: content, purpose: 'batch', expires_after: { anchor: 'created_at', seconds: 3600 } });
  assert.equal(file.expires_at, file.created_at + 3600);
  assert.equal((await client.files.retrieve(file.id)).expires_at, file.expires_at);
  const life = { anchor: 'created_at', seconds: 7200 };
  const done = await ended((await client.batches.create({ input_file_id: file.id, endpoint: url, completion_window: '24h', output_expires_after: life })).id);
  const output = await client.files.retrieve(done.output_file_id);
  assert.equal(output.expires_at, output.created_at + 7200);
  for (const bad of [{ anchor: 'created_at', seconds: 60 }, { anchor: 'last_active_at', seconds: 3600 }])
    await assert.rejects(client.files.create({ file: content, purpose: 'batch', expires_after: bad }), OpenAI.BadRequestError);
});

row('openai', '/v1/batches', 'bad input fails as a whole, with lines', async () => {
  const batch = await ended((await submit([ask('a'), 'nonsense', ask('a')])).id);
  assert.equal(batch.status, 'failed');
  assert.deepEqual(batch.errors.data.map((e) => [e.line, e.code]), [[2, 'invalid_json_line'], [3, 'duplicate_custom_id']]);
  await assert.rejects(client.batches.create({ input_file_id: 'file-none', endpoint: url, completion_window: '24h' }), OpenAI.NotFoundError);
  await assert.rejects(client.batches.retrieve('batch_none'), OpenAI.NotFoundError);
});

row('openai', '/v1/batches/{id}/cancel', 'what ran is there, the rest is told apart', async () => {
  const batch = await submit(Array.from({ length: 200 }, (_, i) => ask(`n${i}`, { max_tokens: 64 })));
  await eventually('it runs', async () => (await client.batches.retrieve(batch.id)).status === 'in_progress');
  await client.batches.cancel(batch.id);
  const done = await ended(batch.id);
  assert.equal(done.status, 'cancelled');
  assert.equal(done.request_counts.completed + done.request_counts.failed, 200);
  const rest = await linesOf(done.error_file_id);
  assert.ok(rest.some((l) => l.error?.code === 'batch_cancelled'));
});

row('openai', '/v1/batches/{id}/cancel', 'at any moment, that of finishing included, it leaves a batch that is over', async () => {
  const batches = [];
  for (let i = 0; i < 40; ++i) {
    const batch = await submit([ask('one', { max_tokens: 2 })]);
    await new Promise((resolve) => setTimeout(resolve, i / 2));
    await client.batches.cancel(batch.id).catch((error) => assert.ok(error instanceof OpenAI.ConflictError, error));
    batches.push(batch.id);
  }
  for (const id of batches) {
    const done = await ended(id);
    assert.equal(done.request_counts.completed + done.request_counts.failed, 1);
    assert.equal(done.status === 'completed', Boolean(done.output_file_id) && !done.cancelling_at);
  }
});

row('openai', '/v1/batches', 'killed in the middle, it goes on: every line once, charged once', async () => {
  const data = scratch();
  let own = await Server.start({ data });
  const count = 40;
  const batch = await submit(Array.from({ length: count }, (_, i) => ask(`n${i}`, { max_tokens: 32 })), clientOf(own));
  await eventually('some lines are done', async () => (await clientOf(own).batches.retrieve(batch.id)).request_counts.completed >= 3);
  await own.kill();
  own = await Server.start({ data });
  const done = await ended(batch.id, clientOf(own));
  assert.equal(done.status, 'completed');
  // A line whose reply a kill lost between charge and reply is a failure that says so, never a second run.
  const failures = done.error_file_id ? await linesOf(done.error_file_id, clientOf(own)) : [];
  for (const each of failures) assert.equal(each.response.body.error.code, 'idempotency_interrupted');
  const output = await linesOf(done.output_file_id, clientOf(own));
  assert.equal(new Set([...output, ...failures].map((l) => l.custom_id)).size, count);
  const nominal = output.reduce((sum, l) => sum + l.response.body.usage.tokengrid.nominal_nst, 0);
  const charged = await spent(data);
  assert.ok(charged >= nominal);
  if (failures.length === 0) assert.equal(charged, nominal);
  await own.stop();
});
