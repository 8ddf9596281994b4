// Nodes that come and go with the load, for people to watch: node test/e2e/autoscale_demo.mjs
// No node, one request, a step to twelve clients, one node killed, no clients, one request again; a line every half second.
import { ScalingScene } from './autoscale_scene.mjs';
import { json } from './harness.mjs';
import { chat } from './pool_scene.mjs';

const kPaceMs = 10;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const question = { model: 'tokengrid-tiny', messages: [{ role: 'user', content: 'What is 2 + 2?' }], max_tokens: 8 };

const scene = await ScalingScene.start({ paceMs: kPaceMs });
console.log(`gateway ${scene.server.url}; a node is one thread, two requests at once, a step at least ${kPaceMs} ms: 200 tokens/s at most\n`);
console.log('   s  clients  tokens/s  desired  ready  starting  draining  waiting');
const began = performance.now();
let seen = 0;
let isOver = false;
const watching = (async () => {
  while (!isOver) {
    await sleep(500);
    const s = await scene.status();
    const tokens = scene.replies.slice(seen).reduce((sum, r) => sum + r.tokens, 0);
    seen = scene.replies.length;
    const cells = [((performance.now() - began) / 1000).toFixed(1).padStart(4), String(scene.wanted ?? 0).padStart(7),
      (2 * tokens).toFixed(0).padStart(8), ...['desired', 'ready', 'starting', 'draining'].map((n) => String(s[`${n}_replicas`]).padStart(8)),
      String(s.requests_waiting).padStart(8)];
    console.log(cells.join('  '));
  }
})();

const say = (text) => console.log(`-- ${text}`);
const timed = async () => {
  const reply = await chat(scene.server, question);
  say(`one request: ${reply.status}, first token after ${reply.ttftMs?.toFixed(0)} ms, ${reply.route}`);
  return reply.status === 200 && !reply.error;
};
let isGood = await timed();
say('twelve clients');
scene.load(12);
await sleep(10_000);
say((await scene.status()).reason);
const victim = (await scene.status()).replicas.find((r) => r.state === 'ready' && r.name !== 'auto-1');
say(`kill -9 ${victim.name}, process ${victim.process}`);
process.kill(victim.process, 'SIGKILL');
await sleep(5_000);
say('no clients');
await scene.load(0);
while ((await scene.processes()).length > 0) await sleep(200);
isGood = (await timed()) && isGood;
isOver = true;
await watching;

const whole = scene.replies.filter((r) => r.status === 200 && r.done && !r.error).length;
const account = await json('account', 'show', 'demo', '--data', scene.data);
const audit = await json('receipt', 'audit', '--data', scene.data);
const { cold_start_seconds: cold } = await scene.status();
console.log(`\n${whole} of ${scene.replies.length} replies whole; cold start ${cold.toFixed(2)} s (p90); spent ${account.spent_nst} nano-ST, `
  + `receipts ${audit.billed} over ${audit.pages} pages, held ${account.held_nst}`);
await scene.stop();
process.exit(isGood && whole === scene.replies.length && account.spent_nst === audit.billed && account.held_nst === 0 ? 0 : 1);
