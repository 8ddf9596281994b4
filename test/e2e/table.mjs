// docs/clients.md from the tests: `node test/e2e/table.mjs` writes it, `--check` says whether it is as they are. The first
// table is clients.mjs by features.mjs, which features.test.mjs runs cell by cell; the second is every row of the other tests.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clients } from './clients.mjs';
import { features } from './features.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const file = join(here, '..', '..', 'docs', 'clients.md');
const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
const helpers = /^(ajv|ajv-formats|js-yaml|zod)$/;
const versions = Object.entries({ ...dependencies, ...optionalDependencies }).filter(([name]) => !helpers.test(name)).map(([name, version]) => `${name} ${version}`).join(', ');

const columns = clients.map(({ client, path }) => `${client}<br>\`${path}\``);
const cell = (client, feature) => (client.lacks.includes(feature.needs) ? '–' : '✓');
const matrix = features.map((feature) => `| ${feature.name} | ${clients.map((client) => cell(client, feature)).join(' | ')} |`);

// A test's row is a call `row('client', 'path', 'shown', async …` or such an entry of a table.
const pattern = /^ *(?:row\(|\[)'([^']+)', '([^']+)', '([^']+)', async/gm;
const scripts = readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort();
const rows = scripts.flatMap((script) => [...readFileSync(join(here, script), 'utf8').matchAll(pattern)]
  .map(([, client, path, shown]) => ({ client, path, shown, script })));
// By path; what one script shows of a path stays in its order.
const byPath = [...new Set(rows.map(({ path }) => path))].sort();
const list = byPath.flatMap((path) => rows.filter((row) => row.path === path))
  .map(({ client, path, shown, script }) => `| \`${path}\` | ${client} | ${shown} | \`${script.replace('.test.mjs', '')}\` |`);

const text = `# Clients

What unmodified clients are shown to do against the gateway, made from the tests by \`node test/e2e/table.mjs\`; the tests fail
where this page is not as they are. Versions: ${versions}.

## Paths that make tokens

Every ✓ is a test of its own (\`test/e2e/features.test.mjs\`), streamed and whole where both exist. –: the client or the API has
no such thing.

| | ${columns.join(' | ')} |
|---|${columns.map(() => '---|').join('')}
${matrix.join('\n')}

## Everything else

| path | client | shown | test |
|---|---|---|---|
${list.join('\n')}

\`codex\` needs a provider with \`wire_api = "responses"\` and nothing else (\`test/e2e/codex.test.mjs\`): tools that are no functions,
which a server would run by itself, are left out of what the model is offered, and the header \`x-tokengrid-tools-left-out\` says so. A
request that has no others, or that chooses one, is refused by name.

Every kind of response, stream event and error of OpenAI's paths, those of files, batches and stored responses included, is held
against OpenAI's published document (\`test/e2e/openapi.test.mjs\`). One deviation is intended: chunks of \`/v1/completions\` carry
\`"finish_reason": null\` until the last, as OpenAI's own do; the document describes whole completions only.
`;
if (process.argv[2] === '--check') {
  if (readFileSync(file, 'utf8') !== text) {
    console.error('docs/clients.md is not as the tests are: run node test/e2e/table.mjs');
    process.exit(1);
  }
} else {
  writeFileSync(file, text);
}
