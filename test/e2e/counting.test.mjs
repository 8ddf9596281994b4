// Questions that cost nothing, on the real model: their answers are what the real request then says.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { json, Server } from './harness.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

const model = 'tokengrid-tiny';
const messages = [{ role: 'user', content: 'Tell me a story about a lighthouse and its keeper.' }];
const ask = async (path, body) => {
  const response = await server.fetch(path, { body });
  assert.equal(response.status, 200, path);
  return response.json();
};
const spent = async () => (await json('account', 'show', 'demo', '--data', server.data)).spent_nst;

test('an estimate is the quote: exact input, the most the output can be, nothing spent', async () => {
  const before = await spent();
  const request = { model, messages, max_tokens: 12, ignore_eos: true, temperature: 0 };
  const estimate = await ask('/v1/estimate', request);
  assert.equal(estimate.expected, null);
  assert.equal(await spent(), before);
  const { usage } = await ask('/v1/chat/completions', request);
  assert.equal(usage.prompt_tokens, estimate.input_tokens);
  assert.equal(usage.completion_tokens, estimate.maximum.output_tokens);
  assert.equal(usage.prompt_tokens_details.cached_tokens, 0);
  assert.equal(usage.tokengrid.nominal_nst, estimate.maximum.total_nst);
  assert.equal(usage.tokengrid.nominal_st, estimate.maximum.total_st);
  assert.ok(estimate.hold_nst >= estimate.maximum.billed_nst);
  assert.equal(await spent() - before, estimate.maximum.billed_nst);
  const next = await ask('/v1/estimate', { ...request, max_tokens: 100 });
  assert.equal(next.expected.output_tokens, 12);
  assert.equal(next.expected_from_replies, 1);
  assert.ok(next.expected.total_nst < next.maximum.total_nst);
});

test('tokens and texts', async () => {
  const prompt = 'Once upon a time, a naïve fox said: 你好!';
  const { tokens, count, max_model_len } = await ask('/tokenize', { model, prompt });
  assert.equal(count, tokens.length);
  assert.ok(max_model_len > count);
  assert.equal((await ask('/detokenize', { model, tokens })).prompt.replace(/^<[^>]*>/, ''), prompt);
  const { usage } = await ask('/v1/completions', { model, prompt, max_tokens: 1 });
  assert.equal(usage.prompt_tokens, count);
  const chat = await ask('/tokenize', { model, messages });
  const counted = await ask('/v1/messages/count_tokens', { model, messages });
  assert.equal(counted.input_tokens, chat.count);
  assert.equal((await ask('/v1/responses/input_tokens', { model, input: messages[0].content })).input_tokens, chat.count);
});

test('models tell what they can do and cost', async () => {
  const found = await (await server.fetch(`/v1/models/${model}`)).json();
  assert.deepEqual(found.tokengrid.capabilities, {
    chat: true, tools: false, reasoning: false, vision: false, embeddings: false, structured_output: true });
  assert.equal(found.tokengrid.tariff.name, 'list/1');
});

test('tools are refused where the template knows none', async () => {
  const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }];
  const refused = await server.fetch('/v1/chat/completions', { body: { model, messages, tools } });
  assert.equal(refused.status, 400);
  assert.match((await refused.json()).error.message, /tool/);
  const answered = await ask('/v1/chat/completions', { model, messages, tools, tool_choice: 'none', max_tokens: 4 });
  assert.equal(answered.usage.completion_tokens, 4);
});
