// Every kind of response, stream event and error against OpenAI's published OpenAPI document. Skipped, visibly, where the
// document is not at hand (OPENAI_OPENAPI names it).
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import { load } from 'js-yaml';
import { haveScripted, root, say, ScriptedServer } from './harness.mjs';

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
