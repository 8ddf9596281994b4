// Unmodified clients of every API against the gateway over a scripted model: tools, reasoning, streams, errors.
// What belongs to one client or path alone, a row each; what all of them do is in features.mjs. table.mjs makes docs/clients.md of both.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embed, embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
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

// For the model of random weights: whatever it says under a schema is a document of it.
const random = 'random';
const person = z.object({ age: z.number().int().min(0).max(130), kind: z.enum(['child', 'adult']), tags: z.array(z.boolean()).max(3) });
// Anthropic's client leaves bounds out of the schema that it sends.
const verdict = z.object({ kind: z.enum(['child', 'adult']), ok: z.boolean() });
const choice = { type: 'object', properties: { city: { enum: ['Paris', 'Rome'] } }, required: ['city'], additionalProperties: false };
const strictTools = [{ type: 'function', function: { name: 'weather', description: 'd', parameters: choice, strict: true } }];
const isCity = (input) => ['Paris', 'Rome'].includes(input.city) && Object.keys(input).length === 1;
const bad = { type: 'object', properties: { city: { not: { type: 'null' } } } };
const length = (vector) => Math.hypot(...vector);
const near = (a, b) => assert.ok(a.length === b.length && a.every((x, i) => Math.abs(x - b[i]) < 1e-5));

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
  ['openai', '/v1/chat/completions', 'images, audio and files are refused by name', async () => {
    for (const [part, capability] of [[{ type: 'image_url', image_url: { url: 'x' } }, 'image input'],
      [{ type: 'input_audio', input_audio: { data: 'x', format: 'wav' } }, 'audio input'], [{ type: 'file', file: { file_id: 'x' } }, 'file input']]) {
      await assert.rejects(openai.chat.completions.create({ model, messages: user([part]) }),
        (e) => e instanceof OpenAI.BadRequestError && e.message.includes(capability));
    }
  }],
  ['openai', '/v1/chat/completions', 'fields that nobody knows are ignored', async () => {
    const done = await openai.chat.completions.create({ model, messages: [{ ...user(say('hi'))[0], unheard_of: 1 }], unheard_of: { a: [1] },
      metadata: { a: 'b' }, store: false, service_tier: 'auto', prompt_cache_key: 'k', safety_identifier: 's', verbosity: 'low' });
    assert.equal(done.choices[0].message.content, 'hi');
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
  ['openai', '/v1/chat/completions', 'json_schema, parsed by the client', async () => {
    for (const seed of [1, 2, 3]) {
      const done = await openai.chat.completions.parse({ model: random, seed, messages: user('x'), max_tokens: 400,
        response_format: zodResponseFormat(person, 'person') });
      person.parse(done.choices[0].message.parsed);
      assert.equal(done.choices[0].finish_reason, 'stop');
    }
  }],
  ['openai', '/v1/chat/completions', 'json_schema, streamed', async () => {
    const body = { model: random, seed: 5, messages: user('x'), max_tokens: 400, response_format: zodResponseFormat(person, 'person') };
    const done = await openai.chat.completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion();
    person.parse(done.choices[0].message.parsed);
    const whole = await openai.chat.completions.create(body);
    assert.equal(done.choices[0].message.content, whole.choices[0].message.content);
    assert.equal(done.usage.completion_tokens, whole.usage.completion_tokens);
  }],
  ['openai', '/v1/chat/completions', 'json_object, guided_choice, guided_regex, guided_grammar', async () => {
    const ask = async (more) => (await openai.chat.completions.create({ model: random, seed: 3, messages: user('x'), max_tokens: 200, ...more }))
      .choices[0].message.content;
    // Bytes 34 and 125 are a quote and a closing brace: likely, so that the object ends.
    assert.equal(typeof JSON.parse(await ask({ response_format: { type: 'json_object' }, logit_bias: { 34: 20, 125: 20 } })), 'object');
    assert.ok(['yes', 'no'].includes(await ask({ guided_choice: ['yes', 'no'] })));
    assert.match(await ask({ guided_regex: '[a-c]{2}-[0-9]' }), /^[a-c]{2}-[0-9]$/);
    assert.match(await ask({ structured_outputs: { grammar: 'root ::= "a" ("b" | "c")' } }), /^a[bc]$/);
  }],
  ['openai', '/v1/chat/completions', 'a cut document says so', async () => {
    const done = await openai.chat.completions.create({ model: random, messages: user('x'), max_tokens: 4,
      response_format: zodResponseFormat(person, 'person') });
    assert.equal(done.choices[0].finish_reason, 'length');
    await assert.rejects(openai.chat.completions.parse({ model: random, messages: user('x'), max_tokens: 4,
      response_format: zodResponseFormat(person, 'person') }), OpenAI.LengthFinishReasonError);
  }],
  ['openai', '/v1/chat/completions', 'a keyword that cannot be held is refused with its place', async () => {
    await assert.rejects(openai.chat.completions.create({ model: random, messages: user('x'),
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: bad } } }),
    (e) => e instanceof OpenAI.BadRequestError && /not at #\/properties\/city/.test(e.message) && e.param === 'response_format.json_schema.schema');
  }],
  ['openai', '/v1/chat/completions', 'forced calls follow their schema, whole and streamed', async () => {
    for (const tool_choice of ['required', { type: 'function', function: { name: 'weather' } }]) {
      const body = { model: random, seed: 4, messages: user('x'), tools: strictTools, tool_choice, parallel_tool_calls: false, max_tokens: 200 };
      const whole = (await openai.chat.completions.create(body)).choices[0];
      const streamed = (await openai.chat.completions.stream(body).finalChatCompletion()).choices[0];
      for (const done of [whole, streamed]) {
        assert.equal(done.finish_reason, 'tool_calls');
        assert.equal(done.message.tool_calls.length, 1);
        assert.ok(isCity(JSON.parse(done.message.tool_calls[0].function.arguments)));
      }
      assert.equal(whole.message.tool_calls[0].function.arguments, streamed.message.tool_calls[0].function.arguments);
    }
  }],
  ['openai', '/v1/chat/completions', 'n, logit_bias, penalties, top_k and min_p', async () => {
    const ask = async (more) => (await openai.chat.completions.create({ model: random, seed: 9, messages: user('x'), max_tokens: 12, ...more })).choices;
    const greedy = (await ask({ temperature: 0 }))[0].message.content;
    assert.equal((await ask({ top_k: 1 }))[0].message.content, greedy);
    assert.equal((await ask({ min_p: 1 }))[0].message.content, greedy);
    assert.equal((await ask({ logit_bias: { 97: 100 } }))[0].message.content, 'a'.repeat(12));
    const spread = (await ask({ temperature: 0, logit_bias: { 97: 40 }, presence_penalty: 2, frequency_penalty: 2, repetition_penalty: 2 }))[0];
    assert.notEqual(spread.message.content, 'a'.repeat(12));
    const three = await ask({ n: 3 });
    assert.deepEqual(three.map((c) => c.index), [0, 1, 2]);
    assert.ok(new Set(three.map((c) => c.message.content)).size > 1);
  }],
  ['openai', '/v1/completions', 'logit_bias, whole and streamed', async () => {
    const body = { model: random, prompt: 'x', max_tokens: 6 };
    assert.equal((await openai.completions.create({ ...body, logit_bias: { 98: 100 } })).choices[0].text, 'b'.repeat(6));
    let text = '';
    for await (const chunk of await openai.completions.create({ ...body, logit_bias: { 98: 100 }, stream: true })) text += chunk.choices[0].text;
    assert.equal(text, 'b'.repeat(6));
    const between = async (bias) => (await openai.completions.create({ ...body, temperature: 0, logit_bias: { 97: 99, 98: 100, ...bias } })).choices[0].text;
    assert.equal(await between({ 97: -100 }), 'b'.repeat(6));
    assert.equal(await between({ 98: -100 }), 'a'.repeat(6));
    for (const logit_bias of [{ x: 1 }, { 98: 101 }, { 98: 'much' }, []]) {
      await assert.rejects(openai.completions.create({ ...body, logit_bias }), (e) => e instanceof OpenAI.BadRequestError && /logit_bias/.test(e.message));
    }
  }],
  ['openai', '/v1/completions', 'echo with logprobs is refused, with both named', async () => {
    await assert.rejects(openai.completions.create({ model: random, prompt: 'x', echo: true, logprobs: 0, max_tokens: 1 }),
      (e) => e instanceof OpenAI.BadRequestError && /'echo'.*'logprobs'/.test(e.message));
  }],
  ['openai', '/v1/completions', 'best_of, and echo', async () => {
    const body = { model: random, prompt: 'x', seed: 2, max_tokens: 8, logprobs: 0 };
    const mean = ({ logprobs }) => logprobs.token_logprobs.reduce((a, b) => a + b, 0) / logprobs.token_logprobs.length;
    const all = (await openai.completions.create({ ...body, n: 4 })).choices.map(mean);
    const best = await openai.completions.create({ ...body, n: 1, best_of: 4 });
    assert.equal(best.choices.length, 1);
    assert.ok(Math.abs(mean(best.choices[0]) - Math.max(...all)) < 0.5, `${mean(best.choices[0])} of ${all}`);
    assert.equal(best.usage.completion_tokens, 32);
    const echoed = await openai.completions.create({ model: random, prompt: 'abc', echo: true, max_tokens: 1 });
    assert.ok(echoed.choices[0].text.startsWith('abc'));
  }],
  ['openai', '/v1/responses', 'text.format json_schema, parsed by the client, whole and streamed', async () => {
    const body = { model: random, input: 'x', max_output_tokens: 400, text: { format: zodTextFormat(person, 'person') } };
    const whole = await openai.responses.parse(body);
    person.parse(whole.output_parsed);
    assert.equal(whole.text.format.type, 'json_schema');
    person.parse((await openai.responses.stream(body).finalResponse()).output_parsed);
  }],
  ['openai', '/v1/responses', 'a strict function that is forced', async () => {
    const r = await openai.responses.create({ model: random, input: 'x', max_output_tokens: 200, tool_choice: { type: 'function', name: 'weather' },
      tools: [{ type: 'function', name: 'weather', parameters: choice, strict: true }] });
    assert.ok(isCity(JSON.parse(r.output[0].arguments)));
  }],
  ['openai', '/v1/embeddings', 'texts, batches, token ids, base64 and dimensions', async () => {
    const { data, usage } = await openai.embeddings.create({ model: 'encoder', input: ['hello', 'world!'] });
    assert.deepEqual(data.map((d) => d.index), [0, 1]);
    assert.equal(usage.prompt_tokens, usage.total_tokens);
    assert.ok(usage.prompt_tokens >= 11);
    assert.ok(Math.abs(length(data[0].embedding) - 1) < 1e-3);
    const floats = await openai.embeddings.create({ model: 'encoder', input: 'hello', encoding_format: 'float' });
    near(floats.data[0].embedding, data[0].embedding);
    const { tokens } = await (await fetch(`${server.url}/tokenize`, { method: 'POST', headers: { authorization: `Bearer ${server.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'encoder', prompt: 'hello' }) })).json();
    near((await openai.embeddings.create({ model: 'encoder', input: [tokens] })).data[0].embedding, data[0].embedding);
    const short = await openai.embeddings.create({ model: 'encoder', input: 'hello', dimensions: 8 });
    assert.equal(short.data[0].embedding.length, 8);
    assert.ok(Math.abs(length(short.data[0].embedding) - 1) < 1e-3);
  }],
  ['openai', '/v1/embeddings', 'models and capabilities are told apart', async () => {
    await assert.rejects(openai.embeddings.create({ model, input: 'x' }), /'scripted' makes no embeddings/);
    await assert.rejects(openai.chat.completions.create({ model: 'encoder', messages: user('x') }), /'encoder' generates no text/);
    await assert.rejects(openai.embeddings.create({ model: 'none', input: 'x' }), OpenAI.NotFoundError);
    const { tokengrid } = await openai.models.retrieve('encoder');
    assert.deepEqual([tokengrid.capabilities.chat, tokengrid.capabilities.embeddings], [false, true]);
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
  ['anthropic', '/v1/messages', 'output_config.format, parsed by the client, whole and streamed', async () => {
    const body = { model: random, max_tokens: 400, messages: user('x'), output_config: { format: zodOutputFormat(verdict) } };
    verdict.parse((await anthropic.messages.parse(body)).parsed_output);
    verdict.parse(JSON.parse((await anthropic.messages.stream(body).finalMessage()).content[0].text));
  }],
  ['anthropic', '/v1/messages', 'a strict tool that is forced', async () => {
    const tools = [{ name: 'weather', input_schema: choice, strict: true }];
    for (const tool_choice of [{ type: 'any' }, { type: 'tool', name: 'weather' }]) {
      const body = { model: random, max_tokens: 200, messages: user('x'), tools, tool_choice: { ...tool_choice, disable_parallel_tool_use: true } };
      const done = await anthropic.messages.create(body);
      assert.equal(done.stop_reason, 'tool_use');
      assert.ok(isCity(done.content[0].input));
      assert.ok(isCity((await anthropic.messages.stream(body).finalMessage()).content[0].input));
    }
  }],
  ['anthropic', '/v1/messages', 'images and documents are refused by name', async () => {
    const ask = (block) => anthropic.messages.create({ model, max_tokens: 5, messages: user([block]) });
    await assert.rejects(ask({ type: 'image', source: { type: 'url', url: 'x' } }), /image input/);
    await assert.rejects(ask({ type: 'document', source: { type: 'url', url: 'x' } }), /file input/);
  }],
  ['ollama', '/api/chat, generate', 'format: a schema, and json', async () => {
    const format = z.toJSONSchema(person);
    person.parse(JSON.parse((await ollama.chat({ model: random, messages: user('x'), format, options: { num_predict: 400 } })).message.content));
    let text = '';
    for await (const part of await ollama.generate({ model: random, prompt: 'x', format, options: { num_predict: 400, seed: 3 }, stream: true })) text += part.response;
    person.parse(JSON.parse(text));
    for (let seed = 1, done = false; !done; ++seed) {
      assert.ok(seed < 60, 'no object ended');
      const said = await ollama.generate({ model: random, prompt: 'x', format: 'json', options: { num_predict: 60, seed } });
      done = said.done_reason === 'stop';
      if (done) assert.equal(typeof JSON.parse(said.response), 'object');
    }
  }],
  ['ollama', '/api/embed, embeddings', 'embed and embeddings', async () => {
    const { embeddings, prompt_eval_count } = await ollama.embed({ model: 'encoder', input: ['hello', 'world'] });
    assert.equal(embeddings.length, 2);
    assert.ok(prompt_eval_count >= 10);
    near((await ollama.embeddings({ model: 'encoder', prompt: 'hello' })).embedding, embeddings[0]);
    await assert.rejects(ollama.embed({ model, input: 'x' }), /makes no embeddings/);
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
    assert.deepEqual((await ollama.list()).models.map((m) => m.name), ['scripted', 'plain', 'random', 'encoder']);
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
  ['ai (openai-compatible)', '/v1/chat/completions', 'generateObject and streamObject', async () => {
    const provider = createOpenAICompatible({ name: 'tokengrid', apiKey: server.key, baseURL: `${server.url}/v1`, supportsStructuredOutputs: true });
    const asked = { model: provider(random), schema: person, prompt: 'x', maxRetries: 0, maxOutputTokens: 400, seed: 6 };
    person.parse((await generateObject(asked)).object);
    const streamed = streamObject(asked);
    for await (const _ of streamed.partialObjectStream);  // Nothing is read before somebody wants it.
    person.parse(await streamed.object);
  }],
  ['ai (openai-compatible)', '/v1/embeddings', 'embed and embedMany', async () => {
    const provider = createOpenAICompatible({ name: 'tokengrid', apiKey: server.key, baseURL: `${server.url}/v1` });
    const { embedding, usage } = await embed({ model: provider.embeddingModel('encoder'), value: 'hello', maxRetries: 0 });
    assert.ok(usage.tokens >= 5);
    const { embeddings } = await embedMany({ model: provider.embeddingModel('encoder'), values: ['hello', 'world'], maxRetries: 0 });
    near(embeddings[0], embedding);
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

test('docs/clients.md is made from the tests', () => {
  execFileSync(process.execPath, [join(root, 'test', 'e2e', 'table.mjs'), '--check']);
});
