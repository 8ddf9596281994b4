#!/usr/bin/env python3
"""Tokengrid beside llama.cpp and ik_llama.cpp: the same files, the same threads, one run, interleaved.

Peers are not part of this project; build them where you like and say where their binaries are:

  bench/peers.py --tokengrid build/tokengrid --llama ~/llama.cpp/build/bin --ik ~/ik_llama.cpp/build/bin \
      --model q4_k_m=1b-q4km.gguf --model q8_0=1b-q80.gguf --what decode,prefill,batch --rounds 3

Files of random weights do for speed: `tokengrid model synth --shape llama-1b --codec q4_k_m -o 1b-q4km.gguf`.
Each round runs every engine once, one after the other, so that a machine whose speed changes changes it
for all; the tables show medians over rounds and the best. Peers' own benches measure them, with their
defaults besides threads; ik_llama.cpp repacks at load (-rtr 1), which is its faster mode.
"""
import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request


def run(command, timeout, errors=subprocess.PIPE):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        said = done.stderr or done.stdout
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {said[-300:]}")
    return done.stdout


def json_in(text, opening):
    """The JSON value that begins at the first `opening` of a peer's output; warnings may stand in it."""
    text = '\n'.join(line for line in text.splitlines() if not line.startswith('WARNING'))
    return json.JSONDecoder().raw_decode(text[text.index(opening):])[0]


class Tokengrid:
    name = 'tokengrid'

    def __init__(self, options):
        self.binary, self.options = options.tokengrid, options

    def bench(self, what, model, extra):
        text = run([self.binary, 'bench', what, '-m', model, '--threads', str(self.options.threads),
                    '--repeats', str(self.options.repeats), '--json', *extra], self.options.timeout)
        return json_in(text, '{')

    def decode(self, model, depth):
        row = self.bench('decode', model, ['--context', str(depth)])['rows'][0]
        # What a token reads, for the peers: they have the same weights and keys to read.
        self.options.token_bytes[model, depth] = row['bytes_per_second'] / row['tokens_per_second']
        return row['tokens_per_second'], {'of_read': row['of_read']}

    def reads(self):
        """Bytes per second of each of a few passes over memory, now."""
        text = run([self.binary, 'bench', 'limits', '--threads', str(self.options.threads), '--json'], self.options.timeout)
        return json_in(text, '{')['limits']['read_passes']

    def prefill(self, model, tokens):
        row = self.bench('prefill', model, ['--prompt', str(tokens)])['rows'][0]
        return row['tokens_per_second'], {'of_peak': row['of_peak']}

    def batch(self, model, sequences):
        row = self.bench('decode', model, ['--batch', str(sequences), '--context', '144'])['rows'][0]
        return row['tokens_per_second'], {'of_peak': row['of_peak'], 'of_read': row['of_read']}

    def serve(self, model, case, extra):
        text = run([self.binary, 'bench', 'serve', '-m', model, '--case', case, '--json', '--threads',
                    str(self.options.threads), '--name', self.name, *extra], self.options.timeout)
        return json_in(text, '{')['rows'][0]


class Llama:
    """llama.cpp, or with `repack` the fork ik_llama.cpp, whose options differ."""

    def __init__(self, name, folder, options, repack):
        self.name, self.folder, self.options, self.repack = name, folder, options, repack

    def bench(self, model, extra):
        command = [f'{self.folder}/llama-bench', '-m', model, '-t', str(self.options.threads), '-r', '1',
                   '-o', 'json', *extra]
        if self.repack:
            command += ['-rtr', '1']
        return json_in(run(command, self.options.timeout), '[')[0]['avg_ts']

    def decode(self, model, depth):
        tokens = str(self.options.repeats + 8)
        ours = Tokengrid(self.options)
        reads = ours.reads()
        if self.repack and depth:
            speed = self.bench(model, ['-p', '0', '-n', '0', '-gp', f'{depth},{tokens}'])
        else:
            speed = self.bench(model, ['-p', '0', '-n', tokens] + (['-d', str(depth)] if depth else []))
        reads += ours.reads()
        said = {f'{self.name} of_read': speed * self.options.token_bytes[model, depth] / statistics.median(reads)}
        return speed, said

    def prefill(self, model, tokens):
        return self.bench(model, ['-p', str(tokens), '-n', '0']), {}

    def batch(self, model, sequences):
        command = [f'{self.folder}/llama-batched-bench', '-m', model, '-t', str(self.options.threads),
                   '-npp', '128', '-ntg', '24', '-npl', str(sequences), '-c', str(192 * sequences)]
        command += ['-rtr'] if self.repack else []
        # The fork prints its table among the errors.
        for line in run(command, self.options.timeout, subprocess.STDOUT).splitlines():
            cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
            if len(cells) >= 8 and cells[0] == '128':
                return float(cells[7]), {}
        raise RuntimeError(f'{self.name}: no row from llama-batched-bench')

    def serve(self, model, case, extra):
        binary = f'{self.folder}/llama-server'
        if not os.path.exists(binary):
            return None
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        clients = int(extra[extra.index('--clients') + 1]) if '--clients' in extra else 2
        context = 1024 if case == 'load' else 4096
        server = subprocess.Popen([binary, '-m', model, '-t', str(self.options.threads), '--port', str(port),
                                   '-np', str(clients), '-c', str(context * clients), '--no-webui'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.await_health(port)
            text = run([self.options.tokengrid, 'bench', 'serve', '--url', f'http://127.0.0.1:{port}', '--case',
                        case, '--json', '--name', self.name, *extra], self.options.timeout)
            return json_in(text, '{')['rows'][0]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)

    def await_health(self, port):
        for _ in range(600):
            try:
                if urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=2).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f'{self.name}: the server is not ready')


def cases_of(options):
    table = {'decode': ('decode', (0, 2048)), 'prefill': ('prefill', (512,)), 'long': ('prefill', (2048,)),
             'batch': ('batch', (8, 32))}
    return [(what, *table[what]) for what in options.what.split(',') if what in table]


def measure(options, engines):
    """speeds[(model, method, size)][engine] = [tokens per second of each round], and what else was said."""
    speeds, said = {}, {}
    for _ in range(options.rounds):
        for label, path in options.models:
            for _, method, sizes in cases_of(options):
                for size in sizes:
                    for engine in engines:
                        result = getattr(engine, method)(path, size)
                        if result is None:
                            continue
                        key = (label, method, size)
                        speeds.setdefault(key, {}).setdefault(engine.name, []).append(result[0])
                        if result[1]:
                            said.setdefault(key, []).append(result[1])
                        print(json.dumps({'case': key, 'engine': engine.name, 'tok_s': round(result[0], 2),
                                          **{k: round(v, 3) for k, v in result[1].items()}}), file=sys.stderr)
    return speeds, said


def print_speeds(speeds, said, engines):
    names = [engine.name for engine in engines]
    print('| file | case | ' + ' | '.join(f'{n}, median (best)' for n in names) +
          ' | ' + ' | '.join(f'x {n}' for n in names[1:]) + ' | of the machine |')
    print('|---' * (3 + len(names) + len(names[1:])) + '|')
    for key, by_engine in speeds.items():
        medians = {name: statistics.median(values) for name, values in by_engine.items()}
        cells = [f'{medians[n]:.1f} ({max(by_engine[n]):.1f})' if n in medians else '' for n in names]
        ratios = []
        for name in names[1:]:
            # A ratio per round first: that is what interleaving is for.
            pairs = list(zip(by_engine.get('tokengrid', []), by_engine.get(name, [])))
            ratios.append(f'{statistics.median(a / b for a, b in pairs):.2f}' if pairs else '')
        measures = {}
        for one in said.get(key, []):
            for measure, value in one.items():
                measures.setdefault(measure, []).append(value)
        parts = ', '.join(f'{k} {statistics.median(values):.2f}' for k, values in measures.items())
        print(f'| {key[0]} | {key[1]} {key[2]} | ' + ' | '.join(cells + ratios) + f' | {parts} |')


SERVE = {
    'load': ['--clients', '32', '--requests', '64', '--prompt-bytes', '128', '--output-tokens', '64'],
    'stall': ['--prompt-bytes', '1200', '--clients', '2'],
    # A 500-word prefix, and an end of their own.
    'prefix': ['--clients', '8', '--prompt-bytes', '1050', '--own-bytes', '32', '--output-tokens', '8'],
}


def serve(options, engines):
    for label, path in options.models:
        for case in options.serve_cases.split(','):
            for engine in engines:
                row = engine.serve(path, case, SERVE[case])
                if row is not None:
                    print(json.dumps({'file': label, **row}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tokengrid', required=True)
    parser.add_argument('--llama', help="folder of llama.cpp's binaries")
    parser.add_argument('--ik', help="folder of ik_llama.cpp's binaries")
    parser.add_argument('--model', action='append', required=True, metavar='LABEL=FILE')
    parser.add_argument('--what', default='decode,prefill', help='of decode, prefill, long, batch, serve')
    parser.add_argument('--serve-cases', default='load,stall,prefix')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--repeats', type=int, default=8, help='steps of a measurement')
    parser.add_argument('--timeout', type=int, default=600)
    options = parser.parse_args()
    options.models = [entry.split('=', 1) for entry in options.model]
    options.token_bytes = {}
    engines = [Tokengrid(options)]
    if options.llama:
        engines.append(Llama('llama.cpp', options.llama, options, False))
    if options.ik:
        engines.append(Llama('ik_llama.cpp', options.ik, options, True))
    if cases_of(options):
        print_speeds(*measure(options, engines), engines)
    if 'serve' in options.what.split(','):
        serve(options, engines)


if __name__ == '__main__':
    main()
