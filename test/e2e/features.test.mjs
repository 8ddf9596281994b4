// Every client on every path that makes tokens shows every feature (clients.mjs, features.mjs); docs/clients.md has the table.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { clients, statusOf } from './clients.mjs';
import { features } from './features.mjs';
import { haveScripted, ScriptedServer } from './harness.mjs';

const skip = haveScripted ? false : 'scripted_gateway is not built';
let server;
before(async () => { if (!skip) server = await ScriptedServer.start(); });
after(async () => { if (!skip) assert.equal(await server.stop(), 0, 'every hold closed exactly once'); });

for (const client of clients) {
  for (const feature of features) {
    if (client.lacks.includes(feature.needs)) continue;
    test(`${client.client} ${client.path}: ${feature.name}`, { skip },
      () => feature.run(client, { url: server.url, key: server.key }, statusOf));
  }
}
