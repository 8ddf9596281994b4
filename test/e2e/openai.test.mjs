// The unmodified `openai` client: stream, usage, errors, abort.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';
import OpenAI from 'openai';
import { eventually, json, row, scratch, Server } from './harness.mjs';

let server;
let client;
const model = 'tokengrid-tiny';
const story = [{ role: 'user', content: 'Tell me a short story about a fox.' }];

before(async () => {
  server = await Server.start();
  client = new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });
});
after(() => server.stop());

row('openai', '/v1/models', 'a list', async () => {
  const ids = [];
  for await (const found of client.models.list()) ids.push(found.id);
  assert.deepEqual(ids, [model]);
});

row('openai', '/v1/chat/completions', 'the bundled model answers in English, with usage and a receipt', async () => {
  const { data, response } = await client.chat.completions
    .create({ model, messages: story, max_tokens: 60, temperature: 0 }).withResponse();
  const choice = data.choices[0];
  assert.match(choice.message.content, /^[A-Z][a-z]* .*\b(the|a)\b/s);
  assert.ok(['stop', 'length'].includes(choice.finish_reason));
  assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
  assert.ok(Number(data.usage.tokengrid.nominal_st) > 0);
  assert.equal(response.headers.get('x-tokengrid-receipt-id'), data.usage.tokengrid.receipt_id);
  assert.match(response.headers.get('x-request-id'), /^req_/);
});

row('openai', '/v1/chat/completions', 'a stream has the same text, then the same usage', async () => {
  const request = { model, messages: story, max_tokens: 60, temperature: 0 };
  const whole = await client.chat.completions.create(request);
  const stream = await client.chat.completions
    .create({ ...request, stream: true, stream_options: { include_usage: true } });
  let text = '';
  let usage;
  let finish;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(finish, whole.choices[0].finish_reason);
  assert.equal(usage.prompt_tokens, whole.usage.prompt_tokens);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

row('openai', '/v1/chat/completions', 'n, seed, stop, logprobs and top_logprobs', async () => {
  const done = await client.completions.create({ model, prompt: 'Once upon a time', max_tokens: 20, temperature: 0 });
  assert.ok(done.choices[0].text.length > 10);
  const two = await client.chat.completions
    .create({ model, messages: story, n: 2, seed: 7, temperature: 1, max_tokens: 12 });
  assert.equal(two.choices.length, 2);
  const again = await client.chat.completions
    .create({ model, messages: story, n: 2, seed: 7, temperature: 1, max_tokens: 12 });
  assert.deepEqual(two.choices.map((c) => c.message.content), again.choices.map((c) => c.message.content));
  const stopped = await client.chat.completions
    .create({ model, messages: story, temperature: 0, max_tokens: 60, stop: ['.'] });
  assert.ok(!stopped.choices[0].message.content.includes('.'));
  assert.equal(stopped.choices[0].finish_reason, 'stop');
  const scored = await client.chat.completions
    .create({ model, messages: story, temperature: 0, max_tokens: 3, logprobs: true, top_logprobs: 2 });
  assert.equal(scored.choices[0].logprobs.content.length, 3);
  assert.equal(scored.choices[0].logprobs.content[0].top_logprobs.length, 2);
});

row('openai', '/v1/chat/completions', 'errors have their classes', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'none', messages: story }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model, messages: story, temperature: -1 }), OpenAI.BadRequestError);
  const stranger = new OpenAI({ apiKey: 'tg-wrong', baseURL: `${server.url}/v1`, maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create({ model, messages: story }), OpenAI.AuthenticationError);
});

row('openai', '/v1/chat/completions', 'an abort stops the engine, charges delivered tokens only, frees every block', async () => {
  await eventually('idle', async () => (await server.metric('vllm:num_requests_running')) === 0);
  const before = await json('account', 'show', 'demo', '--data', server.data);
  const stream = await client.chat.completions
    .create({ model, messages: [{ role: 'user', content: 'Count from 1 to 99.' }], max_tokens: 350, stream: true,
      temperature: 1 });
  let chunks = 0;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content && ++chunks === 5) break;
  }
  stream.controller.abort();
  await eventually('stopped', async () => (await server.metric('vllm:num_requests_running')) === 0);
  await eventually('blocks free', async () => (await server.metric('vllm:kv_cache_usage_perc')) === 0);
  await eventually('hold resolved', async () => {
    const now = await json('account', 'show', 'demo', '--data', server.data);
    return now.held_nst === 0;
  });
  const now = await json('account', 'show', 'demo', '--data', server.data);
  assert.ok(now.spent_nst > before.spent_nst, 'something was delivered and charged');
  assert.ok(now.balance_nst + now.spent_nst === before.balance_nst + before.spent_nst);
});

// What so many tokens of output cost, by the estimate, which runs nothing.
async function cost(request, tokens) {
  const response = await server.fetch('/v1/estimate', { body: { ...request, stream: undefined, max_tokens: tokens } });
  return (await response.json()).maximum.billed_nst;
}

// How many tokens were charged, by the receipt that was not among the `known` ones: the charge follows from what it says, and
// where nothing was found in the cache it is the estimate too. 0: nothing was.
async function tokensOf(request, charged, known) {
  if (charged === 0) return 0;
  const listed = async () => (await receipts()).find(({ id }) => !known.has(id));
  await eventually('there is a receipt', async () => (await listed()) !== undefined);
  const receipt = await listed();
  assert.equal(receipt.billed, charged);
  if (receipt.cached_tokens === 0) assert.equal(await cost(request, receipt.output_tokens), charged);
  const file = join(scratch(), 'receipt.txt');
  writeFileSync(file, await (await server.fetch(`/v1/receipts/${receipt.id}`)).text());
  const checked = await json('receipt', 'verify', file, '--data', server.data);
  for (const level of ['arithmetic', 'ledger']) assert.equal(checked[level], 'ok', level);
  return receipt.output_tokens;
}

async function receipts() {
  return (await json('receipt', 'list', '--data', server.data)).receipts;
}

row('openai', '/v1/chat/completions', 'an abort at any chunk is charged to the nano-ST for a count of tokens no less than was read', async () => {
  for (let chunks = 0; chunks <= 10; ++chunks) {
    const request = { model, messages: [{ role: 'user', content: `Count from ${chunks} to 999.` }], max_tokens: 300, stream: true,
      temperature: 1, seed: chunks, ignore_eos: true };
    const before = await json('account', 'show', 'demo', '--data', server.data);
    const known = new Set((await receipts()).map(({ id }) => id));
    const stream = await client.chat.completions.create(request);
    let read = 0;
    if (chunks > 0) for await (const chunk of stream) if (chunk.choices[0]?.delta?.content && ++read === chunks) break;
    stream.controller.abort();
    let now;
    await eventually('over', async () => (await server.metric('vllm:num_requests_running')) === 0);
    await eventually('settled', async () => (now = await json('account', 'show', 'demo', '--data', server.data)).held_nst === 0);
    const tokens = await tokensOf(request, now.spent_nst - before.spent_nst, known);
    assert.ok(tokens >= read && tokens <= 300, `${tokens} charged, ${read} chunks read`);
  }
});
