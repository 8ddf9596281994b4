// The bundled model answers its held-out probes through the API about as well as the independent evaluation says
// (models/README.md): a gauge that notices when serving damages quality.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, Server } from './harness.mjs';

// "| copy | 82 % | 63 % |" -> ['copy', 0.82]
function recorded() {
  const table = readFileSync(join(root, 'models', 'README.md'), 'utf8').matchAll(/^\| ([a-z0-9- ]+?) \| (\d+) %/gm);
  return new Map([...table].map((row) => [row[1], Number(row[2]) / 100]));
}

test('exact match per probe, against the recorded table', async () => {
  const items = readFileSync(join(root, 'models', 'probes.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const server = await Server.start();
  const right = new Map();
  const asked = new Map();
  await Promise.all(items.map(async ({ kind, messages, expected }) => {
    const response = await server.fetch('/v1/chat/completions',
      { body: { model: 'tokengrid-tiny', messages, temperature: 0, max_tokens: 200 } });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    asked.set(kind, (asked.get(kind) ?? 0) + 1);
    right.set(kind, (right.get(kind) ?? 0) + (answer.choices[0].message.content === expected ? 1 : 0));
  }));
  await server.stop();
  const want = recorded();
  let shortfall = 0;
  for (const [kind, count] of asked) {
    const rate = right.get(kind) / count;
    console.log(`${kind.padEnd(12)} ${(100 * rate).toFixed(0).padStart(3)} %  recorded ${(100 * want.get(kind)).toFixed(0)} %`);
    assert.ok(want.has(kind), `models/README.md records ${kind}`);
    shortfall += (want.get(kind) - rate) / asked.size;
  }
  // Other items of the same kinds: the mean of 200 answers scatters by about 3 points.
  assert.ok(shortfall < 0.10, `on average ${(100 * shortfall).toFixed(1)} points below the record`);
});
