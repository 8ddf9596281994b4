// The unmodified `openai` client's own retries, over a connection that loses replies: with an Idempotency-Key the same
// reply comes and is charged once, also when the server is killed in between.
import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import { after, before } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { eventually, json, row, scratch, Server } from './harness.mjs';

const model = 'tokengrid-tiny';
const messages = [{ role: 'user', content: 'Tell me a short story about a fox.' }];
const request = { model, messages, max_tokens: 24, temperature: 1 };

// A proxy whose first `losses` connections end with the first byte of their reply, which is thrown away.
class LossyProxy {
  static async start(port, losses) {
    const proxy = new LossyProxy();
    proxy.losses = losses;
    proxy.connections = 0;
    proxy.server = createServer((client) => {
      proxy.connections += 1;
      const loses = proxy.losses-- > 0;
      const upstream = connect(port, '127.0.0.1');
      client.pipe(upstream);
      const end = () => { client.destroy(); upstream.destroy(); };
      if (loses) upstream.once('data', end); else upstream.pipe(client);
      for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
    });
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    proxies.push(proxy);
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}/v1`;
    return proxy;
  }
}

let server;
const proxies = [];
before(async () => { server = await Server.start(); });
after(async () => {
  for (const proxy of proxies) proxy.server.close();
  await server.stop();
});

const spent = async () => {
  let now;
  await eventually('holds resolved', async () => (now = await json('account', 'show', 'demo', '--data', server.data)).held_nst === 0);
  return now.spent_nst;
};
const nominal = (usage) => usage.tokengrid.nominal_nst;
const port = () => Number(new URL(server.url).port);
const once = (key) => ({ headers: { 'Idempotency-Key': key } });

row('openai', '/v1/chat/completions', 'Idempotency-Key: retries after 0, 1 and 2 lost replies get the one reply, charged once', async () => {
  for (const losses of [0, 1, 2]) {
    const proxy = await LossyProxy.start(port(), losses);
    const client = new OpenAI({ apiKey: server.key, baseURL: proxy.url, maxRetries: 3 });
    const before = await spent();
    const { data, response } = await client.chat.completions.create(request, once(`lost-${losses}`)).withResponse();
    assert.ok(data.choices[0].message.content.length > 0);
    assert.equal(response.headers.get('idempotent-replayed'), losses > 0 ? 'true' : null);
    assert.ok(proxy.connections >= losses + 1);
    assert.equal(await spent() - before, nominal(data.usage));
  }
});

row('openai', '/v1/chat/completions', 'Idempotency-Key: a stream whose beginning was lost is what was sent of it, says that it was cut, and costs no more', async () => {
  const proxy = await LossyProxy.start(port(), 1);
  const client = new OpenAI({ apiKey: server.key, baseURL: proxy.url, maxRetries: 3 });
  const body = { ...request, max_tokens: 200, stream: true, stream_options: { include_usage: true } };
  const before = await spent();
  const stream = await client.chat.completions.create(body, once('stream'));
  const read = async () => { for await (const chunk of stream) assert.ok(chunk.id); };
  await assert.rejects(read, (error) => error instanceof OpenAI.APIError && error.code === 'stream_interrupted');
  const cost = await spent() - before;
  const again = await new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 })
    .chat.completions.create(body, once('stream')).asResponse();
  assert.equal(again.headers.get('idempotent-replayed'), 'true');
  await again.text();
  assert.equal(await spent() - before, cost);
});

row('openai', '/v1/chat/completions', 'Idempotency-Key: a whole stream comes again as it was', async () => {
  const client = new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });
  const ask = async () => (await client.chat.completions.create({ ...request, stream: true }, once('whole')).asResponse()).text();
  const first = await ask();
  const cost = await spent();
  assert.ok(first.endsWith('data: [DONE]\n\n'));
  assert.equal(await ask(), first);
  assert.equal(await spent(), cost);
});

row('openai', '/v1/chat/completions', 'Idempotency-Key: another body is a ConflictError that is not retried', async () => {
  const proxy = await LossyProxy.start(port(), 0);
  const client = new OpenAI({ apiKey: server.key, baseURL: proxy.url, maxRetries: 3 });
  await client.chat.completions.create(request, once('conflict'));
  const before = await spent();
  const connections = await server.metric('tokengrid:http_responses_total');
  await assert.rejects(client.chat.completions.create({ ...request, seed: 1 }, once('conflict')), OpenAI.ConflictError);
  assert.ok(await server.metric('tokengrid:http_responses_total') - connections <= 3);
  assert.equal(await spent(), before);
});

row('openai', '/v1/chat/completions', 'Idempotency-Key: parallel requests are one', async () => {
  const client = new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });
  const before = await spent();
  const all = await Promise.all(Array.from({ length: 8 }, () => client.chat.completions.create(request, once('parallel'))));
  assert.equal(new Set(all.map((reply) => reply.id)).size, 1);
  assert.equal(await spent() - before, nominal(all[0].usage));
});

row('openai', '/v1/chat/completions', 'Idempotency-Key: killed and started again, the same reply, nothing charged', async () => {
  const data = scratch();
  let own = await Server.start({ data });
  const ask = () => new OpenAI({ apiKey: own.key, baseURL: `${own.url}/v1`, maxRetries: 0 })
    .chat.completions.create(request, once('kill'));
  const first = await ask();
  await own.kill();
  own = await Server.start({ data });
  const before = await json('account', 'show', 'demo', '--data', data);
  assert.deepEqual(await ask(), first);
  const now = await json('account', 'show', 'demo', '--data', data);
  assert.equal(now.spent_nst, before.spent_nst);
  await own.stop();
});

// The same twice: one reply, one charge.
async function twice(ask) {
  const before = await spent();
  const first = await ask();
  const cost = await spent() - before;
  assert.ok(cost > 0);
  assert.deepEqual(await ask(), first);
  assert.equal(await spent() - before, cost);
}

row('openai', '/v1/completions', 'Idempotency-Key: the same reply, charged once', async () => {
  const client = new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });
  await twice(() => client.completions.create({ model, prompt: 'A fox', max_tokens: 9, temperature: 1 }, once('completion')));
});

row('openai', '/v1/responses', 'Idempotency-Key: the same reply, charged once', async () => {
  const client = new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });
  await twice(() => client.responses.create({ model, input: 'A fox?', max_output_tokens: 9, temperature: 1 }, once('response')));
});

row('anthropic', '/v1/messages', 'Idempotency-Key: the same reply, charged once', async () => {
  const client = new Anthropic({ apiKey: server.key, baseURL: server.url, maxRetries: 0 });
  await twice(() => client.messages.create({ model, messages, max_tokens: 9, temperature: 1 }, once('message')));
});
