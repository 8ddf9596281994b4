// Engines that are not there, as far as a gateway can tell them apart from real ones: vLLM's and llama.cpp's wire formats as
// documented, slots and a queue, prompts computed at a pace, a prefix cache, metrics, aborts by closed connections.
//   node mock_engine.mjs --kind vllm|llama.cpp --model NAME [--tpot-ms N] [--prompt-ms N] [--slots N]
// prints "listening on URL". Two switches for tests, on the same port: POST /mock/lie makes it claim ten times the tokens it
// gives and no load at all; POST /mock/hang makes it accept requests and say nothing.
import { createServer } from 'node:http';

const args = Object.fromEntries(process.argv.slice(2).join(' ').split('--').filter(Boolean)
  .map((part) => part.trim().split(' ')).map(([name, value]) => [name, value]));
const kind = args.kind ?? 'vllm';
const model = args.model ?? 'mock';
const tpotMs = Number(args['tpot-ms'] ?? 8);
const promptMs = Number(args['prompt-ms'] ?? 0.2);
const slots = Number(args.slots ?? 4);
const kBlock = 16;

const state = { running: 0, queue: [], lies: false, hangs: false, promptTokens: 0, outputTokens: 0, cachedTokens: 0 };
const cache = new Set();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function takeSlot() {
  if (state.running >= slots) await new Promise((resolve) => state.queue.push(resolve));
  ++state.running;
}

function freeSlot() {
  --state.running;
  state.queue.shift()?.();
}

// Tokens of the prompt that are in the cache, by whole blocks; the prompt is in it afterwards.
function cachedOf(prompt) {
  let cached = 0;
  let isHit = true;
  for (let end = kBlock; end <= prompt.length; end += kBlock) {
    const key = prompt.slice(0, end).join(',');
    isHit = isHit && cache.has(key);
    if (isHit) cached = end;
    cache.add(key);
  }
  return Math.min(cached, prompt.length - 1);
}

// What it "generates": the prompt again, from its start.
async function generate(prompt, count, response, onToken) {
  let isGone = false;
  response.on('close', () => { isGone = true; });
  await takeSlot();
  try {
    const cached = cachedOf(prompt);
    state.cachedTokens += cached;
    state.promptTokens += prompt.length;
    await sleep((prompt.length - cached) * promptMs);
    for (let i = 0; i < count && !isGone; ++i) {
      await sleep(tpotMs);
      if (state.hangs) await new Promise(() => {});
      ++state.outputTokens;
      onToken(prompt[i % prompt.length], i);
    }
    return { cached, isGone };
  } finally {
    freeSlot();
  }
}

async function vllmCompletion(body, response) {
  const id = `cmpl-${Math.random().toString(16).slice(2)}`;
  const send = (value) => response.write(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
  const head = { id, object: 'text_completion', created: Math.floor(Date.now() / 1000), model };
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  const { cached, isGone } = await generate(body.prompt, body.max_tokens, response, (token, i) => {
    const last = i === body.max_tokens - 1;
    send({ ...head, choices: [{ index: 0, text: '?', logprobs: null, finish_reason: last ? 'length' : null, stop_reason: null,
      token_ids: body.return_token_ids ? [token] : null }], usage: null });
  });
  if (isGone) return;
  const claimed = state.lies ? body.max_tokens * 10 : body.max_tokens;
  if (body.stream_options?.include_usage) {
    send({ ...head, choices: [], usage: { prompt_tokens: body.prompt.length, completion_tokens: claimed,
      total_tokens: body.prompt.length + claimed, prompt_tokens_details: { cached_tokens: cached } } });
  }
  send('[DONE]');
  response.end();
}

async function llamaCompletion(body, response) {
  const send = (value) => response.write(`data: ${JSON.stringify(value)}\n\n`);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const { cached, isGone } = await generate(body.prompt, body.n_predict, response, (token, i) => {
    send({ index: 0, content: '?', tokens: body.return_tokens ? [token] : [], stop: false, id_slot: 0, tokens_predicted: i + 1,
      tokens_evaluated: body.prompt.length });
  });
  if (isGone) return;
  const claimed = state.lies ? body.n_predict * 10 : body.n_predict;
  send({ index: 0, content: '', tokens: [], id_slot: 0, stop: true, model, tokens_predicted: claimed,
    tokens_evaluated: body.prompt.length, truncated: false, stop_type: 'limit', stopping_word: '', tokens_cached: body.prompt.length,
    timings: { cache_n: cached, prompt_n: body.prompt.length - cached, predicted_n: claimed } });
  response.end();
}

function vllmMetrics() {
  const labels = `{engine="0",model_name="${model}"}`;
  return `# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running${labels} ${state.lies ? 0 : state.running}.0\n`
    + `# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting${labels} ${state.lies ? 0 : state.queue.length}.0\n`
    + `vllm:kv_cache_usage_perc${labels} ${state.running / (slots * 2)}\n`
    + `vllm:prompt_tokens_total${labels} ${state.promptTokens}.0\nvllm:generation_tokens_total${labels} ${state.outputTokens}.0\n`
    + `vllm:prefix_cache_hits_total${labels} ${state.cachedTokens}.0\n`;
}

function llamaMetrics() {
  return `llamacpp:requests_processing ${state.running}\nllamacpp:requests_deferred ${state.queue.length}\n`
    + `llamacpp:prompt_tokens_total ${state.promptTokens}\nllamacpp:tokens_predicted_total ${state.outputTokens}\n`;
}

const isVllm = kind === 'vllm';
const json = (response, value) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
};
const pages = {
  '/v1/models': () => ({ object: 'list', data: [{ id: model, object: 'model', owned_by: kind, max_model_len: isVllm ? 512 : undefined }] }),
  '/version': () => ({ version: '0.11.0' }),
  '/props': () => ({ default_generation_settings: { n_ctx: 512 }, total_slots: slots, build_info: 'b6000-mock', model_path: model }),
  '/health': () => ({ status: 'ok' }),
  '/mock/state': () => ({ ...state, queue: state.queue.length }),
};

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  if (request.method === 'GET' && request.url === '/metrics') {
    response.writeHead(200, { 'content-type': 'text/plain' });
    return response.end(isVllm ? vllmMetrics() : llamaMetrics());
  }
  if (request.method === 'GET' && pages[request.url]) return json(response, pages[request.url]());
  if (request.url === '/mock/lie') { state.lies = true; return json(response, {}); }
  if (request.url === '/mock/hang') { state.hangs = true; return json(response, {}); }
  if (isVllm && request.url === '/v1/completions') return vllmCompletion(JSON.parse(text), response);
  if (!isVllm && request.url === '/completion') return llamaCompletion(JSON.parse(text), response);
  response.writeHead(404);
  return response.end('{"error":{"message":"Not Found","code":404}}');
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
