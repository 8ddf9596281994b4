// Unmodified clients behind one face, one entry for each client and path: `whole` and `streamed` ask for a reply and return
// { text, reasoning, calls, input, output, finish }; `status` is the HTTP status of what they threw; `lacks` names the features
// (features.mjs) that the client or the API has no words for. `streamed` hands each piece of text to `onText` as it comes.
import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, jsonSchema, streamObject, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

const user = (content) => [{ role: 'user', content }];
const kMax = 400;
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const openaiTool = { type: 'function', function: { name: 'weather', description: 'd', parameters } };
const format = (schema) => schema && { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } };
// Fields that are not asked for are not sent at all.
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

// ---- openai -------------------------------------------------------------------------------------

const openaiOf = ({ url, key }) => new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });

const chatBody = ({ prompt, model, max, stop, seed, temperature, schema, tools }) => given({ model, messages: user(prompt),
  max_tokens: max ?? kMax, stop, seed, temperature, response_format: format(schema), tools: tools && [openaiTool] });
const chatResult = ({ message, finish_reason }, usage) => ({ text: message.content ?? '', reasoning: message.reasoning_content ?? '',
  calls: (message.tool_calls ?? []).map((c) => ({ name: c.function.name, input: JSON.parse(c.function.arguments) })),
  input: usage.prompt_tokens, output: usage.completion_tokens, finish: finish_reason });

const openaiChat = {
  client: 'openai', path: '/v1/chat/completions', lacks: [],
  async whole(at, ask) {
    const done = await openaiOf(at).chat.completions.create(chatBody(ask), { signal: ask.signal });
    return chatResult(done.choices[0], done.usage);
  },
  async streamed(at, ask, onText) {
    const runner = openaiOf(at).chat.completions.stream({ ...chatBody(ask), stream_options: { include_usage: true } }, { signal: ask.signal });
    let reasoning = '';
    for await (const { choices: [choice] } of runner) {
      if (choice?.delta.content) onText(choice.delta.content);
      reasoning += choice?.delta.reasoning_content ?? '';
    }
    const done = await runner.finalChatCompletion();
    return { ...chatResult(done.choices[0], done.usage), reasoning };
  },
};

const completionBody = ({ prompt, model, max, stop, seed, temperature }) => given({ model, prompt, max_tokens: max ?? kMax, stop, seed, temperature });
const openaiCompletions = {
  client: 'openai', path: '/v1/completions', lacks: ['reasoning', 'tools', 'schema'],
  async whole(at, ask) {
    const { choices: [choice], usage } = await openaiOf(at).completions.create(completionBody(ask), { signal: ask.signal });
    return { text: choice.text, finish: choice.finish_reason, input: usage.prompt_tokens, output: usage.completion_tokens };
  },
  async streamed(at, ask, onText) {
    const stream = await openaiOf(at).completions.create({ ...completionBody(ask), stream: true, stream_options: { include_usage: true } },
      { signal: ask.signal });
    const out = { text: '' };
    for await (const { choices: [choice], usage } of stream) {
      if (choice?.text) onText(choice.text);
      out.text += choice?.text ?? '';
      out.finish = choice?.finish_reason ?? out.finish;
      if (usage) Object.assign(out, { input: usage.prompt_tokens, output: usage.completion_tokens });
    }
    // An aborted stream of this client just ends.
    ask.signal?.throwIfAborted();
    return out;
  },
};

const responsesBody = ({ prompt, model, max, temperature, schema, tools }) => given({ model, input: prompt, max_output_tokens: max ?? kMax,
  temperature, text: schema && { format: { type: 'json_schema', name: 'x', schema, strict: true } },
  tools: tools && [{ type: 'function', name: 'weather', description: 'd', parameters, strict: false }] });
const kIncomplete = { max_output_tokens: 'length' };
const responsesResult = (r) => ({ text: r.output_text, input: r.usage.input_tokens, output: r.usage.output_tokens,
  reasoning: r.output.filter((o) => o.type === 'reasoning').flatMap((o) => o.content.map((c) => c.text)).join(''),
  calls: r.output.filter((o) => o.type === 'function_call').map((o) => ({ name: o.name, input: JSON.parse(o.arguments) })),
  finish: r.status === 'completed' ? 'stop' : kIncomplete[r.incomplete_details?.reason] });
const openaiResponses = {
  client: 'openai', path: '/v1/responses', lacks: ['stop', 'seed'],
  whole: async (at, ask) => responsesResult(await openaiOf(at).responses.create(responsesBody(ask), { signal: ask.signal })),
  async streamed(at, ask, onText) {
    const stream = openaiOf(at).responses.stream(responsesBody(ask), { signal: ask.signal });
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta') onText(event.delta);
      if (event.type === 'response.failed' || event.type === 'error') throw new Error(JSON.stringify(event));
    }
    return responsesResult(await stream.finalResponse());
  },
};

// ---- anthropic ----------------------------------------------------------------------------------

const anthropicOf = ({ url, key }) => new Anthropic({ apiKey: key, baseURL: url, maxRetries: 0 });
const messagesBody = ({ prompt, model, max, stop, temperature, schema, tools }) => given({ model, messages: user(prompt), max_tokens: max ?? kMax,
  stop_sequences: stop, temperature, output_config: schema && { format: { type: 'json_schema', schema } },
  tools: tools && [{ name: 'weather', description: 'd', input_schema: parameters }] });
const kStopReasons = { end_turn: 'stop', stop_sequence: 'stop', max_tokens: 'length' };
const messagesResult = ({ content, usage, stop_reason }) => ({ input: usage.input_tokens + usage.cache_read_input_tokens, output: usage.output_tokens,
  text: content.filter((b) => b.type === 'text').map((b) => b.text).join(''),
  reasoning: content.filter((b) => b.type === 'thinking').map((b) => b.thinking).join(''),
  calls: content.filter((b) => b.type === 'tool_use').map(({ name, input }) => ({ name, input })), finish: kStopReasons[stop_reason] });
const anthropicMessages = {
  client: 'anthropic', path: '/v1/messages', lacks: ['seed'],
  whole: async (at, ask) => messagesResult(await anthropicOf(at).messages.create(messagesBody(ask), { signal: ask.signal })),
  async streamed(at, ask, onText) {
    const stream = anthropicOf(at).messages.stream(messagesBody(ask), { signal: ask.signal });
    for await (const event of stream) if (event.delta?.type === 'text_delta') onText(event.delta.text);
    return messagesResult(await stream.finalMessage());
  },
};

// ---- ollama -------------------------------------------------------------------------------------

// Of its own it can abort streams only; a signal in its documented `fetch` option aborts the rest.
const ollamaOf = ({ url, key }, signal) => new Ollama({ host: url, headers: { authorization: `Bearer ${key}` },
  fetch: (target, init) => fetch(target, signal ? { ...init, signal } : init) });
const options = ({ max, stop, seed, temperature }) => given({ num_predict: max ?? kMax, stop, seed, temperature });
const ollamaResult = (last, text, reasoning, calls) => ({ text, reasoning, calls, input: last.prompt_eval_count, output: last.eval_count,
  finish: last.done_reason });
const ollamaCalls = (message) => (message.tool_calls ?? []).map((c) => ({ name: c.function.name, input: c.function.arguments }));

async function drainOllama(stream, signal, onText, part) {
  signal?.addEventListener('abort', () => stream.abort());
  let text = '';
  let reasoning = '';
  const calls = [];
  for await (const each of stream) {
    const { said = '', thought = '', called = [] } = part(each);
    if (said) onText(said);
    text += said;
    reasoning += thought;
    calls.push(...called);
    if (each.done) return ollamaResult(each, text, reasoning, calls);
  }
  throw new Error('the stream has no end');
}

const ollamaChatBody = (ask) => given({ model: ask.model, messages: user(ask.prompt), options: options(ask), format: ask.schema, tools: ask.tools && [openaiTool] });
const ollamaChat = {
  client: 'ollama', path: '/api/chat', lacks: [],
  async whole(at, ask) {
    const done = await ollamaOf(at, ask.signal).chat(ollamaChatBody(ask));
    return ollamaResult(done, done.message.content, done.message.thinking ?? '', ollamaCalls(done.message));
  },
  async streamed(at, ask, onText) {
    const stream = await ollamaOf(at).chat({ ...ollamaChatBody(ask), stream: true });
    return drainOllama(stream, ask.signal, onText,
      ({ message }) => ({ said: message.content, thought: message.thinking, called: ollamaCalls(message) }));
  },
};

const ollamaGenerateBody = (ask) => given({ model: ask.model, prompt: ask.prompt, options: options(ask), format: ask.schema });
const ollamaGenerate = {
  client: 'ollama', path: '/api/generate', lacks: ['tools'],
  async whole(at, ask) {
    const done = await ollamaOf(at, ask.signal).generate(ollamaGenerateBody(ask));
    return ollamaResult(done, done.response, done.thinking ?? '', []);
  },
  async streamed(at, ask, onText) {
    const stream = await ollamaOf(at).generate({ ...ollamaGenerateBody(ask), stream: true });
    return drainOllama(stream, ask.signal, onText, ({ response, thinking }) => ({ said: response, thought: thinking }));
  },
};

// ---- ai -----------------------------------------------------------------------------------------

const aiAsk = (model, { prompt, max, stop, seed, temperature, signal, tools }) => given({ model, prompt, maxRetries: 0, maxOutputTokens: max ?? kMax,
  stopSequences: stop, seed, temperature, abortSignal: signal,
  tools: tools && { weather: tool({ description: 'd', inputSchema: jsonSchema(parameters) }) } });
const aiResult = (text, reasoning, calls, usage, finish) => ({ text, reasoning: reasoning ?? '', calls: calls.map((c) => ({ name: c.toolName, input: c.input })),
  input: usage.inputTokens, output: usage.outputTokens, finish });

const aiClient = (client, path, lacks, modelOf) => ({
  client, path, lacks,
  async whole(at, ask) {
    const asked = aiAsk(modelOf(at, ask.model), ask);
    if (ask.schema) {
      const done = await generateObject({ ...asked, schema: jsonSchema(ask.schema) });
      return aiResult(JSON.stringify(done.object), '', [], done.usage, done.finishReason);
    }
    const done = await generateText(asked);
    return aiResult(done.text, done.reasoningText, done.toolCalls, done.usage, done.finishReason);
  },
  async streamed(at, ask, onText) {
    // What goes wrong is told in the stream; without a listener it is printed too.
    const asked = { ...aiAsk(modelOf(at, ask.model), ask), onError: () => {} };
    if (ask.schema) {
      const done = streamObject({ ...asked, schema: jsonSchema(ask.schema) });
      for await (const _ of done.partialObjectStream) onText('.');
      return aiResult(JSON.stringify(await done.object), '', [], await done.usage, 'stop');
    }
    const done = streamText(asked);
    for await (const part of done.fullStream) {
      if (part.type === 'text-delta') onText(part.text);
      if (part.type === 'error') throw part.error;
      if (part.type === 'abort') throw new Error('aborted');
    }
    return aiResult(await done.text, await done.reasoningText, await done.toolCalls, await done.usage, await done.finishReason);
  },
});

const aiChat = aiClient('ai (openai-compatible)', '/v1/chat/completions', [], ({ url, key }, model) =>
  createOpenAICompatible({ name: 'tokengrid', apiKey: key, baseURL: `${url}/v1`, includeUsage: true, supportsStructuredOutputs: true })(model));
// It brings temperatures into the API's range before it sends them.
const aiMessages = aiClient('ai (anthropic)', '/v1/messages', ['schema', 'seed', 'range'], ({ url, key }, model) =>
  createAnthropic({ apiKey: key, baseURL: `${url}/v1` })(model));

export const statusOf = (error) => error.status ?? error.status_code ?? error.statusCode;
export const clients = [openaiChat, openaiCompletions, openaiResponses, anthropicMessages, ollamaChat, ollamaGenerate, aiChat, aiMessages];
