// Unmodified clients of every API against the gateway over a scripted model: tools, reasoning, streams, errors.
// One row per client, path and feature; table.mjs makes docs/clients.md of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { z } from 'zod';
import { haveScripted, root, say, ScriptedServer } from './harness.mjs';

const skip = haveScripted ? false : 'scripted_gateway is not built';
let server;
let openai;
let anthropic;
let ollama;
before(async () => {
  if (skip) return;
  server = await ScriptedServer.start();
  openai = new OpenAI({ apiKey: server.key, baseURL: `${server.url}/v1`, maxRetries: 0 });
  anthropic = new Anthropic({ apiKey: server.key, baseURL: server.url, maxRetries: 0 });
  ollama = new Ollama({ host: server.url, headers: { authorization: `Bearer ${server.key}` } });
});
after(async () => { if (!skip) assert.equal(await server.stop(), 0, 'every hold closed exactly once'); });

const model = 'scripted';
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const call = (name, input) => `<tool_call>\n${JSON.stringify({ name, arguments: input })}\n</tool_call>`;
const thought = '<think>\nwhy\n</think>\n\n';
const sunny = say(`${thought}Sure.\n${call('weather', { city: 'Paris' })}`, 'It is sunny in Paris.');
const user = (content) => [{ role: 'user', content }];
const openaiTools = [{ type: 'function', function: { name: 'weather', description: 'd', parameters } }];

const rows = [
  ['openai', '/v1/chat/completions', 'tool call, then its result', async () => {
    const messages = user(sunny);
    const first = await openai.chat.completions.create({ model, messages, tools: openaiTools });
    const { message, finish_reason } = first.choices[0];
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.reasoning_content, 'why');
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: 'Paris' });
    messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'sunny' });
    const second = await openai.chat.completions.create({ model, messages, tools: openaiTools });
    assert.equal(second.choices[0].message.content, 'It is sunny in Paris.');
    assert.equal(second.choices[0].finish_reason, 'stop');
  }],
  ['openai', '/v1/chat/completions', 'streamed tool call assembled by the client', async () => {
    const runner = openai.chat.completions.stream({ model, messages: user(sunny), tools: openaiTools,
      stream_options: { include_usage: true } });
    const done = await runner.finalChatCompletion();
    assert.equal(done.choices[0].finish_reason, 'tool_calls');
    assert.equal(done.choices[0].message.tool_calls[0].function.name, 'weather');
    assert.equal(done.choices[0].message.content, 'Sure.');
    const whole = await openai.chat.completions.create({ model, messages: user(sunny), tools: openaiTools });
    assert.equal(done.usage.completion_tokens, whole.usage.completion_tokens);
  }],
  ['openai', '/v1/chat/completions', 'runTools goes all the way', async () => {
    const runner = openai.chat.completions.runTools({ model, messages: user(sunny), tools: [{ type: 'function',
      function: { name: 'weather', description: 'd', parameters, parse: JSON.parse, function: ({ city }) => `sun in ${city}` } }] });
    assert.equal(await runner.finalContent(), 'It is sunny in Paris.');
  }],
  ['openai', '/v1/chat/completions', 'two calls at once', async () => {
    const both = say(call('weather', { city: 'Rome' }) + call('weather', { city: 'Oslo' }));
    const done = await openai.chat.completions.stream({ model, messages: user(both), tools: openaiTools }).finalChatCompletion();
    assert.deepEqual(done.choices[0].message.tool_calls.map((c) => JSON.parse(c.function.arguments).city), ['Rome', 'Oslo']);
  }],
  ['openai', '/v1/chat/completions', 'images are refused by name', async () => {
    await assert.rejects(openai.chat.completions.create({ model, messages: user([{ type: 'image_url', image_url: { url: 'x' } }]) }),
      (e) => e instanceof OpenAI.BadRequestError && /image input/.test(e.message));
  }],
  ['openai', '/v1/responses', 'items', async () => {
    const r = await openai.responses.create({ model, input: sunny, instructions: 'Be brief.',
      tools: [{ type: 'function', name: 'weather', parameters, strict: false }] });
    assert.equal(r.status, 'completed');
    assert.deepEqual(r.output.map((o) => o.type), ['reasoning', 'message', 'function_call']);
    assert.equal(r.output_text, 'Sure.');
    assert.ok(r.usage.output_tokens > 0);
  }],
  ['openai', '/v1/responses', 'typed stream', async () => {
    const stream = openai.responses.stream({ model, input: say('Hello there.') });
    let text = '';
    stream.on('response.output_text.delta', (event) => { text += event.delta; });
    const final = await stream.finalResponse();
    assert.equal(text, 'Hello there.');
    assert.equal(final.output_text, 'Hello there.');
  }],
  ['openai', '/v1/responses/{id}', 'store, retrieve, continue, delete', async () => {
    const first = await openai.responses.create({ model, input: say('one', 'two'), store: true });
    assert.equal((await openai.responses.retrieve(first.id)).output_text, 'one');
    const second = await openai.responses.create({ model, input: 'go on', previous_response_id: first.id });
    assert.equal(second.output_text, 'two');
    assert.equal((await openai.responses.inputItems.list(first.id)).data.length, 1);
    await openai.responses.delete(first.id);
    await assert.rejects(openai.responses.retrieve(first.id), OpenAI.NotFoundError);
  }],
  ['openai', '/v1/responses', 'incomplete at the limit', async () => {
    const r = await openai.responses.create({ model, input: say('a long reply'), max_output_tokens: 4 });
    assert.equal(r.status, 'incomplete');
    assert.equal(r.incomplete_details.reason, 'max_output_tokens');
  }],
  ['openai', '/v1/embeddings', 'embeddings are refused clearly', async () => {
    await assert.rejects(openai.embeddings.create({ model, input: 'x' }), /embeddings/);
  }],
  ['anthropic', '/v1/messages', 'message with thinking, text and tool use', async () => {
    const tools = [{ name: 'weather', description: 'd', input_schema: parameters }];
    const messages = user(sunny);
    const first = await anthropic.messages.create({ model, max_tokens: 500, messages, tools });
    assert.equal(first.stop_reason, 'tool_use');
    assert.deepEqual(first.content.map((b) => b.type), ['thinking', 'text', 'tool_use']);
    assert.deepEqual(first.content[2].input, { city: 'Paris' });
    messages.push({ role: 'assistant', content: first.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: first.content[2].id, content: 'sunny' }] });
    const second = await anthropic.messages.create({ model, max_tokens: 500, messages, tools });
    assert.equal(second.content[0].text, 'It is sunny in Paris.');
    assert.equal(second.stop_reason, 'end_turn');
  }],
  ['anthropic', '/v1/messages', 'stream assembled by the client', async () => {
    const tools = [{ name: 'weather', input_schema: parameters }];
    const stream = anthropic.messages.stream({ model, max_tokens: 500, messages: user(sunny), tools });
    const order = [];
    stream.on('streamEvent', (event) => { if (order.at(-1) !== event.type) order.push(event.type); });
    const final = await stream.finalMessage();
    assert.deepEqual(final.content.map((b) => b.type), ['thinking', 'text', 'tool_use']);
    assert.deepEqual(final.content[2].input, { city: 'Paris' });
    assert.equal(order[0], 'message_start');
    assert.deepEqual(order.slice(-2), ['message_delta', 'message_stop']);
    const whole = await anthropic.messages.create({ model, max_tokens: 500, messages: user(sunny), tools });
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  }],
  ['anthropic', '/v1/messages/count_tokens', 'countTokens is what is billed', async () => {
    const messages = user(say('x'));
    const { input_tokens } = await anthropic.messages.countTokens({ model, messages });
    const { usage } = await anthropic.messages.create({ model, max_tokens: 5, messages });
    assert.equal(input_tokens, usage.input_tokens + usage.cache_read_input_tokens);
  }],
  ['anthropic', '/v1/messages', 'stop sequence', async () => {
    const done = await anthropic.messages.create({ model, max_tokens: 50, messages: user(say('one two')), stop_sequences: [' two'] });
    assert.equal(done.stop_reason, 'stop_sequence');
    assert.equal(done.content[0].text, 'one');
  }],
  ['anthropic', '/v1/messages', 'errors have their classes', async () => {
    const ask = (client, more) => client.messages.create({ model, max_tokens: 5, messages: user('x'), ...more });
    await assert.rejects(ask(anthropic, { model: 'none' }), Anthropic.NotFoundError);
    await assert.rejects(ask(anthropic, { temperature: 9 }), Anthropic.BadRequestError);
    const stranger = new Anthropic({ apiKey: 'tg-wrong', baseURL: server.url, maxRetries: 0 });
    await assert.rejects(ask(stranger, {}), Anthropic.AuthenticationError);
  }],
  ['anthropic', '/v1/messages', 'a failing model is an error in the stream', async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 50, messages: user(say('fail')) });
    await assert.rejects(stream.finalMessage(), /supplier/);
  }],
  ['ollama', '/api/chat', 'chat, whole and streamed', async () => {
    const whole = await ollama.chat({ model, messages: user(sunny), tools: openaiTools });
    assert.equal(whole.message.content, 'Sure.');
    assert.equal(whole.message.thinking, 'why');
    assert.deepEqual(whole.message.tool_calls[0].function, { name: 'weather', arguments: { city: 'Paris' } });
    let text = '';
    let last;
    for await (const part of await ollama.chat({ model, messages: user(sunny), tools: openaiTools, stream: true })) {
      text += part.message.content;
      last = part;
    }
    assert.equal(text, 'Sure.');
    assert.ok(last.done && last.eval_count === whole.eval_count);
  }],
  ['ollama', '/api/generate, tags, show, version', 'generate, list, show, version', async () => {
    assert.equal((await ollama.generate({ model, prompt: say('there') })).response, 'there');
    assert.deepEqual((await ollama.list()).models.map((m) => m.name), ['scripted', 'plain']);
    assert.deepEqual((await ollama.show({ model })).capabilities, ['completion', 'tools', 'thinking']);
    assert.match((await ollama.version()).version, /\d/);
    await assert.rejects(ollama.chat({ model: 'none', messages: user('x') }), /none/);
  }],
  ['ai (openai-compatible)', '/v1/chat/completions', 'generateText with tools', async () => {
    const provider = createOpenAICompatible({ name: 'tokengrid', apiKey: server.key, baseURL: `${server.url}/v1` });
    const done = await generateText({ model: provider(model), prompt: sunny, maxRetries: 0, stopWhen: stepCountIs(3),
      tools: { weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sun in ${city}` }) } });
    assert.equal(done.text, 'It is sunny in Paris.');
    assert.equal(done.steps[0].toolCalls[0].toolName, 'weather');
    assert.equal(done.steps[0].reasoningText, 'why');
  }],
  ['ai (openai-compatible)', '/v1/chat/completions', 'streamText', async () => {
    const provider = createOpenAICompatible({ name: 'tokengrid', apiKey: server.key, baseURL: `${server.url}/v1`, includeUsage: true });
    const done = streamText({ model: provider(model), prompt: say('Hello there.'), maxRetries: 0 });
    let text = '';
    for await (const piece of done.textStream) text += piece;
    assert.equal(text, 'Hello there.');
    assert.ok((await done.usage).outputTokens > 0);
  }],
  ['ai (anthropic)', '/v1/messages', 'streamText with tools', async () => {
    const provider = createAnthropic({ apiKey: server.key, baseURL: `${server.url}/v1` });
    const done = streamText({ model: provider(model), prompt: sunny, maxRetries: 0, stopWhen: stepCountIs(3),
      tools: { weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sun in ${city}` }) } });
    let text = '';
    for await (const piece of done.textStream) text += piece;
    assert.equal(text, 'Sure.It is sunny in Paris.');
  }],
];

for (const [client, path, feature, run] of rows) test(`${client} ${path}: ${feature}`, { skip }, run);

test('docs/clients.md is made from these rows', () => {
  execFileSync(process.execPath, [join(root, 'test', 'e2e', 'table.mjs'), '--check']);
});
