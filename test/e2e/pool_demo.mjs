// The live pool, for people to watch: node test/e2e/pool_demo.mjs
// Five unequal suppliers, forty requests, a node killed and an engine lying on the way, who served what, and the bill.
// The gateway's own engine alone would do for the bundled model, so two of three requests name who else may serve them.
import { json } from './harness.mjs';
import { chat, PoolScene } from './pool_scene.mjs';

const say = (text) => console.log(text);
const question = (i) => ({
  model: 'tokengrid-tiny', messages: [{ role: 'user', content: `Tell me a short story about a fox and ${i}.` }],
  max_tokens: 120 + (i * 7) % 80, temperature: 0, seed: i });
const allowed = [undefined, 'node-near,node-far', 'llama,vllm'];
const headersOf = (i) => allowed[i % 3] ? { 'x-tokengrid-allow': allowed[i % 3] } : {};

const scene = await PoolScene.start();
const where = (n) => scene.namespaces[n] ? `in namespace ${scene.namespaces[n].name}, ${scene.namespaces[n].hasNetem ? 'netem' : 'delay proxy'}` : 'on loopback';
say(`gateway ${scene.server.url} with its own engine and
  node-near  ${scene.near.via} (${where(0)}, 2 ms)
  node-far   ${scene.far.via} (${where(1)}, 10 ms, standing still 60 % of the time)
  llama      ${scene.llama.address} (mock, llama.cpp's dialect)
  vllm       ${scene.vllm.address} (mock, vLLM's dialect)\n`);
for (const name of ['local', 'node-near', 'node-far', 'llama', 'vllm']) {
  while (await scene.supplierMetric('up', name) !== 1) await new Promise((resolve) => setTimeout(resolve, 100));
}

let isTroubled = false;
async function makeTrouble() {
  if (isTroubled) return;
  isTroubled = true;
  say('-- kill -9 node-near in the middle of a reply; vllm begins to lie about its load and its tokens');
  await scene.near.kill();
  await fetch(`${scene.vllm.address}/mock/lie`, { method: 'POST' });
}

const count = 40;
const replies = [];
let next = 0;
await Promise.all(Array.from({ length: 10 }, async () => {
  while (next < count) {
    const i = next++;
    // A reply of a node's that has begun.
    const heard = i >= 10 && i % 3 === 1 ? makeTrouble : undefined;
    const r = replies[i] = await chat(scene.server, question(i), headersOf(i), heard);
    say(`${String(i).padStart(2)} ${r.done && !r.error ? 'whole ' : 'BROKEN'} ttft ${r.ttftMs?.toFixed(0).padStart(5)} ms, `
      + `${String(r.usage?.completion_tokens).padStart(3)} tokens in ${r.totalMs?.toFixed(0).padStart(5)} ms  ${r.route}`);
  }
}));

const metrics = (await (await scene.server.fetch('/metrics')).text()).split('\n')
  .filter((l) => /^tokengrid:(pool|supplier)_/.test(l));
say(`\n${metrics.join('\n')}\n`);
const account = await json('account', 'show', 'demo', '--data', scene.server.data);
const audit = await json('receipt', 'audit', '--data', scene.server.data);
say(`${replies.filter((r) => r.done && !r.error).length} of ${count} whole; spent ${account.spent_nst} nano-ST, receipts `
  + `${audit.billed} over ${audit.pages} pages, held ${account.held_nst}`);
await scene.stop();
process.exit(account.spent_nst === audit.billed && account.held_nst === 0 ? 0 : 1);
