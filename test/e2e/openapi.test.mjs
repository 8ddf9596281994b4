// Every kind of response, stream event and error against OpenAI's published OpenAPI document. Skipped, visibly, where the
// document is not at hand (OPENAI_OPENAPI names it).
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import { load } from 'js-yaml';
import { eventually, haveScripted, root, say, ScriptedServer } from './harness.mjs';

const document = process.env.OPENAI_OPENAPI ?? join(root, '..', 'shared', 'data', 'openai-openapi.yaml');
const skip = !existsSync(document) ? `no OpenAPI document at ${document}` : haveScripted ? false : 'scripted_gateway is not built';

let server;
let ajv;
before(async () => {
  if (skip) return;
  server = await ScriptedServer.start();
  ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(withNulls(load(readFileSync(document, 'utf8'))), 'openapi');
});
after(() => server?.stop());

// The document says OpenAPI 3.1, whose schemas know no "nullable", and uses the word all the same.
function withNulls(node) {
  if (Array.isArray(node)) return node.map(withNulls);
  if (node === null || typeof node !== 'object') return node;
  const { nullable, ...rest } = node;
  const mapped = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, withNulls(value)]));
  return nullable === true ? { anyOf: [mapped, { type: 'null' }] } : mapped;
}

function check(schema, value) {
  const validate = ajv.getSchema(`openapi#/components/schemas/${schema}`);
  assert.ok(validate, `no schema ${schema}`);
  // Of a union's errors only those of the last branches matter; the first few lines say enough.
  if (!validate(value)) {
    const why = validate.errors.slice(0, 6).map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`).join('\n');
    assert.fail(`${schema}:\n${why}\nin ${JSON.stringify(value).slice(0, 600)}`);
  }
}

const model = 'scripted';
const user = (content) => [{ role: 'user', content }];
const parameters = { type: 'object', properties: { city: { type: 'string' } } };
const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
const called = say('<think>why</think>Sure.<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>');

const schema = { type: 'object', properties: { n: { type: 'integer', maximum: 99 } }, required: ['n'], additionalProperties: false };
const format = { type: 'json_schema', json_schema: { name: 'n', schema, strict: true } };
const textFormat = { type: 'json_schema', name: 'n', schema, strict: true };
const strictTools = [{ type: 'function', function: { name: 'f', parameters: schema, strict: true } }];

async function post(path, body, status = 200) {
  const response = await fetch(server.url + path, { method: 'POST', body: JSON.stringify(body),
    headers: { authorization: `Bearer ${server.key}`, 'content-type': 'application/json' } });
  assert.equal(response.status, status, path);
  return response;
}

async function events(path, body) {
  const text = await (await post(path, { ...body, stream: true })).text();
  return text.split('\n').filter((line) => line.startsWith('data: ') && line !== 'data: [DONE]').map((line) => JSON.parse(line.slice(6)));
}

const whole = [
  ['CreateChatCompletionResponse', '/v1/chat/completions', { model, messages: user(say('hi')) }],
  ['CreateChatCompletionResponse', '/v1/chat/completions', { model, messages: user(called), tools, n: 2 }],
  ['CreateChatCompletionResponse', '/v1/chat/completions', { model, messages: user(say('hi')), logprobs: true, top_logprobs: 2 }],
  ['CreateCompletionResponse', '/v1/completions', { model, prompt: say('hi') }],
  ['CreateCompletionResponse', '/v1/completions', { model, prompt: [say('a'), say('b')], echo: true }],
  ['Response', '/v1/responses', { model, input: say('hi'), store: true }],
  ['Response', '/v1/responses', { model, input: called, tools: [{ type: 'function', name: 'weather', parameters, strict: true }] }],
  ['Response', '/v1/responses', { model, input: say('cut short'), max_output_tokens: 3 }],
  ['CreateChatCompletionResponse', '/v1/chat/completions', { model: 'random', messages: user('x'), response_format: format, max_tokens: 300 }],
  ['CreateChatCompletionResponse', '/v1/chat/completions', { model: 'random', messages: user('x'), tools: strictTools, tool_choice: 'required', max_tokens: 300 }],
  ['CreateCompletionResponse', '/v1/completions', { model: 'random', prompt: 'x', best_of: 3, logprobs: 2, max_tokens: 9 }],
  ['Response', '/v1/responses', { model: 'random', input: 'x', text: { format: textFormat }, max_output_tokens: 300 }],
  ['CreateEmbeddingResponse', '/v1/embeddings', { model: 'encoder', input: ['a', 'b'] }],
  ['CreateEmbeddingResponse', '/v1/embeddings', { model: 'encoder', input: [[1, 2]], dimensions: 4 }],
];
for (const [schema, path, body] of whole) {
  test(`${path} ${JSON.stringify(Object.keys(body))}`, { skip }, async () => check(schema, await (await post(path, body)).json()));
}

// The one deviation: chunks of /v1/completions carry "finish_reason": null until the last, as OpenAI's own do; the document
// describes whole completions only.
const finished = (event) => ({ ...event, choices: event.choices.map((c) => ({ ...c, finish_reason: c.finish_reason ?? 'stop' })) });

const streams = [
  ['CreateChatCompletionStreamResponse', '/v1/chat/completions', { model, messages: user(say('hi')), stream_options: { include_usage: true } }],
  ['CreateChatCompletionStreamResponse', '/v1/chat/completions', { model, messages: user(called), tools }],
  ['CreateChatCompletionStreamResponse', '/v1/chat/completions', { model, messages: user(say('hi')), logprobs: true, top_logprobs: 1 }],
  ['CreateCompletionResponse', '/v1/completions', { model, prompt: say('hi') }],
  ['ResponseStreamEvent', '/v1/responses', { model, input: say('hi') }],
  ['ResponseStreamEvent', '/v1/responses', { model, input: called, tools: [{ type: 'function', name: 'weather', parameters, strict: true }] }],
  ['ResponseStreamEvent', '/v1/responses', { model, input: say('cut short'), max_output_tokens: 3 }],
  ['CreateChatCompletionStreamResponse', '/v1/chat/completions', { model: 'random', messages: user('x'), response_format: format, max_tokens: 300 }],
  ['CreateChatCompletionStreamResponse', '/v1/chat/completions', { model: 'random', messages: user('x'), tools: strictTools, tool_choice: 'required', max_tokens: 300 }],
  ['ResponseStreamEvent', '/v1/responses', { model: 'random', input: 'x', text: { format: textFormat }, max_output_tokens: 300 }],
];
for (const [schema, path, body] of streams) {
  test(`stream ${path} ${JSON.stringify(Object.keys(body))}`, { skip }, async () => {
    const all = await events(path, body);
    assert.ok(all.length > 1);
    for (const event of all) check(schema, schema === 'CreateCompletionResponse' ? finished(event) : event);
  });
}

test('errors', { skip }, async () => {
  for (const [path, body, status] of [
    ['/v1/chat/completions', {}, 400],
    ['/v1/chat/completions', { model: 'none', messages: user('x') }, 404],
    ['/v1/chat/completions', { model, messages: user('x'), temperature: 9 }, 400],
    ['/v1/responses', { model }, 400],
    ['/v1/embeddings', { model, input: 'x' }, 400],
    ['/v1/embeddings', { model: 'encoder', input: [] }, 400],
    ['/v1/chat/completions', { model: 'encoder', messages: user('x') }, 400],
    ['/v1/chat/completions', { model: 'random', messages: user('x'), response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { not: {} } } } }, 400],
    ['/v1/nothing', {}, 404],
  ]) check('ErrorResponse', await (await post(path, body, status)).json());
});

test('models', { skip }, async () => {
  const ask = async (path) => (await fetch(server.url + path, { headers: { authorization: `Bearer ${server.key}` } })).json();
  check('ListModelsResponse', await ask('/v1/models'));
  check('Model', await ask(`/v1/models/${model}`));
});

test('stored responses', { skip }, async () => {
  const keep = async (input) => (await json('POST', '/v1/responses', { body: { model, input, store: true } })).id;
  const id = await keep(say('hi'));
  check('Response', await json('GET', `/v1/responses/${id}`));
  for (const input of [say('hi'), [...user('x'), { role: 'assistant', content: 'y' }, ...user(say('hi'))], [
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x' }] },
    { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'y' }] },
    { type: 'function_call', call_id: 'c', name: 'weather', arguments: '{}' },
    { type: 'function_call_output', call_id: 'c', output: 'sun' }, ...user(say('hi')),
  ]]) {
    const items = await json('GET', `/v1/responses/${await keep(input)}/input_items`);
    check('ResponseItemList', items);
    assert.equal(items.data.length, Array.isArray(input) ? input.length : 1);
    assert.equal(new Set(items.data.map((item) => item.id)).size, items.data.length);
  }
  // Newest first, in pages, unless asked otherwise.
  const path = `/v1/responses/${await keep([...user('x'), ...user('y'), ...user(say('hi'))])}/input_items`;
  const all = (await json('GET', path)).data.map((item) => item.id);
  assert.deepEqual((await json('GET', `${path}?order=asc&limit=3`)).data.map((item) => item.id), [...all].reverse());
  const second = await json('GET', `${path}?limit=1&after=${all[0]}`);
  check('ResponseItemList', second);
  assert.deepEqual([second.first_id, second.last_id, second.has_more], [all[1], all[1], true]);
  check('ResponseItemList', await json('GET', `${path}?after=${all[2]}`));
  await call('DELETE', `/v1/responses/${id}`);
  for (const [method, path, status] of [['GET', `/v1/responses/${id}`, 404], ['DELETE', `/v1/responses/${id}`, 404],
    ['GET', `/v1/responses/${id}/input_items`, 404]]) check('ErrorResponse', await json(method, path, { status }));
});

test('errors of idempotency keys', { skip }, async () => {
  const ask = (text, name, status = 200) => json('POST', '/v1/chat/completions',
    { body: { model, messages: user(say(text)) }, status, headers: { 'idempotency-key': name } });
  check('CreateChatCompletionResponse', await ask('one', 'k'));
  check('CreateChatCompletionResponse', await ask('one', 'k'));
  check('ErrorResponse', await ask('two', 'k', 409));
  check('ErrorResponse', await ask('one', 'k'.repeat(256), 400));
});

// ---- files and batches --------------------------------------------------------------------------

async function call(method, path, { body, status = 200, key = server.key, headers: more = {} } = {}) {
  const headers = { ...more, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers['content-type'] = 'application/json';
  const response = await fetch(server.url + path, { method, headers, body: isForm || body === undefined ? body : JSON.stringify(body) });
  assert.equal(response.status, status, `${method} ${path}`);
  return response;
}

function form(text, fields = { purpose: 'batch' }) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.set(name, value);
  if (text !== null) data.set('file', new Blob([text]), 'in.jsonl');
  return data;
}

const json = async (...args) => (await call(...args)).json();
const upload = async (lines) => json('POST', '/v1/files', { body: form(lines.join('\n')) });
const requestOf = (url, body, id = 'one') => JSON.stringify({ custom_id: id, method: 'POST', url, body });
const submit = async (endpoint, lines, more = {}) => json('POST', '/v1/batches',
  { body: { input_file_id: (await upload(lines)).id, endpoint, completion_window: '24h', ...more } });
// Every state that it is seen in fits the document.
async function ended(id) {
  let batch;
  await eventually(`${id} is over`, async () => {
    batch = await json('GET', `/v1/batches/${id}`);
    check('Batch', batch);
    return ['completed', 'failed', 'cancelled', 'expired'].includes(batch.status);
  }, 30);
  return batch;
}
const linesOf = async (id) => (await (await call('GET', `/v1/files/${id}/content`)).text()).trim().split('\n').map((line) => JSON.parse(line));

test('files', { skip }, async () => {
  const file = await upload(['{}']);
  check('OpenAIFile', file);
  check('OpenAIFile', await json('GET', `/v1/files/${file.id}`));
  await upload(['{}']);
  const first = await json('GET', '/v1/files?limit=1&order=asc&purpose=batch');
  check('ListFilesResponse', first);
  assert.equal(first.has_more, true);
  check('ListFilesResponse', await json('GET', `/v1/files?after=${first.last_id}`));
  check('ListFilesResponse', await json('GET', '/v1/files?purpose=batch_output'));
  check('DeleteFileResponse', await json('DELETE', `/v1/files/${file.id}`));
});

// The document has no schema for the lines of a batch's files; what is in them is a reply of the endpoint, or its error.
for (const [endpoint, schema, body] of [
  ['/v1/chat/completions', 'CreateChatCompletionResponse', { model, messages: user(say('hi')) }],
  ['/v1/completions', 'CreateCompletionResponse', { model, prompt: say('hi') }],
  ['/v1/responses', 'Response', { model, input: say('hi') }],
  ['/v1/embeddings', 'CreateEmbeddingResponse', { model: 'encoder', input: 'hi' }],
]) {
  test(`batch of ${endpoint}`, { skip }, async () => {
    const batch = await submit(endpoint, [requestOf(endpoint, body), requestOf(endpoint, { model }, 'two')], { metadata: { a: 'b' } });
    check('Batch', batch);
    const done = await ended(batch.id);
    assert.equal(done.status, 'completed');
    const [output] = await linesOf(done.output_file_id);
    check(schema, output.response.body);
    const [failed] = await linesOf(done.error_file_id);
    check('ErrorResponse', failed.response.body);
    for (const id of [done.output_file_id, done.error_file_id]) {
      const file = await json('GET', `/v1/files/${id}`);
      check('OpenAIFile', file);
      assert.equal(file.purpose, 'batch_output');
    }
  });
}

test('batches that fail, are cancelled, and all of them', { skip }, async () => {
  const endpoint = '/v1/chat/completions';
  const failed = await ended((await submit(endpoint, ['nonsense', requestOf('/v1/other', {})])).id);
  assert.deepEqual([failed.status, failed.errors.data.length], ['failed', 2]);
  const hanging = await submit(endpoint, [requestOf(endpoint, { model, messages: user(say('hang')) })]);
  await eventually('it runs', async () => (await json('GET', `/v1/batches/${hanging.id}`)).status === 'in_progress');
  const cancelling = await json('POST', `/v1/batches/${hanging.id}/cancel`);
  check('Batch', cancelling);
  assert.equal(cancelling.status, 'cancelling');
  const first = await json('GET', '/v1/batches?limit=1');
  check('ListBatchesResponse', first);
  check('ListBatchesResponse', await json('GET', `/v1/batches?after=${first.last_id}`));
  check('ListBatchesResponse', await json('GET', '/v1/batches?after=batch_none'));
});

test('errors of files and batches', { skip }, async () => {
  const file = await upload(['{}']);
  const batch = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
  const done = await ended((await submit('/v1/chat/completions', ['nonsense'])).id);
  for (const [method, path, status, body, key] of [
    ['POST', '/v1/files', 400, {}],
    ['POST', '/v1/files', 400, form(null)],
    ['POST', '/v1/files', 400, form('x', {})],
    ['POST', '/v1/files', 400, form('x', { purpose: 'vision' })],
    ['POST', '/v1/files', 401, form('x'), null],
    ['GET', '/v1/files', 401, undefined, 'tg-wrong'],
    ['GET', '/v1/files?limit=0', 400],
    ['GET', '/v1/files?order=up', 400],
    ['GET', '/v1/files/file-none', 404],
    ['GET', '/v1/files/file-none/content', 404],
    ['DELETE', '/v1/files/file-none', 404],
    ['PUT', '/v1/files', 405, {}],
    ['POST', '/v1/batches', 400, {}],
    ['POST', '/v1/batches', 404, { ...batch, input_file_id: 'file-none' }],
    ['POST', '/v1/batches', 400, { ...batch, input_file_id: 1 }],
    ['POST', '/v1/batches', 400, { ...batch, endpoint: '/v1/moderations' }],
    ['POST', '/v1/batches', 400, { ...batch, completion_window: '1h' }],
    ['POST', '/v1/batches', 400, { ...batch, metadata: { a: 1 } }],
    ['POST', '/v1/batches', 401, batch, null],
    ['GET', '/v1/batches?limit=x', 400],
    ['GET', '/v1/batches/batch_none', 404],
    ['POST', '/v1/batches/batch_none/cancel', 404],
    ['POST', `/v1/batches/${done.id}/cancel`, 409],
    ['DELETE', '/v1/batches', 405],
  ]) check('ErrorResponse', await json(method, path, { body, status, key }));
});
