// A real engine of the test's own, with versions of the arena, and a way to cut its players' connections.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const PROGRAM = process.env.HOTSEAT_ENGINE;
const BUILD = fileURLToPath(new URL('../../../../scripts/build_so.sh', import.meta.url));

/** Whatever crate is built, what it depends on is built already. */
const OF_CARGO = PROGRAM ? { CARGO_TARGET_DIR: dirname(dirname(resolve(PROGRAM))) } : {};

/** How long the port of an engine that was killed may be somebody else's. */
const PORT_FREE_MS = 15_000;
/** Characters of what an engine complained of at last. */
const COMPLAINT_MAX = 4000;

/** Options of a test that needs an engine: why it is left out where there is none. */
export const withEngine = { timeout: 600_000, skip: PROGRAM ? false : 'HOTSEAT_ENGINE does not name the binary of an engine' };

export class Engine {
  #folder = mkdtempSync(join(tmpdir(), 'hotseat-engine-'));
  #process;
  #command;
  #ended;
  /** The end of what it wrote to its standard error. */
  #complained = '';

  /** An engine that runs version 1001 of the arena. */
  static async start(config = '') {
    const engine = new Engine();
    mkdirSync(join(engine.#folder, 'plugins'));
    // However slow the machine is, a test that takes a version back comes in time.
    writeFileSync(join(engine.#folder, 'engine.toml'), `probation = "60s"\n${config}\n`);
    await engine.build(1);
    await engine.#begin(['serve', '--listen', '127.0.0.1:0']);
    return engine;
  }

  /** `engine dev` on the crate in a folder. */
  static async dev(crate) {
    const engine = new Engine();
    await engine.#begin(['dev', crate, '--listen', '127.0.0.1:0']);
    return engine;
  }

  /** The address to listen on comes last. */
  async #begin(command) {
    const env = { ...process.env, ...OF_CARGO, RUST_LOG: 'warn' };
    this.#command = command;
    this.#process = spawn(PROGRAM, command, { cwd: this.#folder, stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#ended = once(this.#process, 'exit');
    const isQuiet = once(this.#process.stderr, 'end');
    let said = '';
    this.#process.stderr.setEncoding('utf8').on('data', (text) => {
      process.stderr.write(text);
      this.#complained = (this.#complained + text).slice(-COMPLAINT_MAX);
    });
    for await (const text of this.#process.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      said += text;
      if (said.includes('\n')) break;
    }
    const listening = /listening on http:\/\/127\.0\.0\.1:(\d+)\n/.exec(said);
    if (!listening) {
      const [[code, signal]] = await Promise.all([this.#ended, isQuiet]);
      throw new Error(`the engine does not listen (${signal ?? `exit code ${code}`}): ${said}${this.#complained}`);
    }
    this.port = Number(listening[1]);
  }

  /** Returns once it has written this to its standard error. */
  async says(text) {
    while (!this.#complained.includes(text)) await once(this.#process.stderr, 'data');
  }

  /** Ends the engine as a crash would. */
  async kill() {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }

  /**
   * Starts it again, on the same port and the same data. The port may be held for a moment: by another process, or by a client
   * that tries to connect to it and, where nobody listens, may reach itself.
   */
  async again() {
    const deadline = Date.now() + PORT_FREE_MS;
    for (;;) {
      try {
        return await this.#begin([...this.#command.slice(0, -1), `127.0.0.1:${this.port}`]);
      } catch (error) {
        if (Date.now() > deadline || !error.message.includes('address in use')) throw error;
        await setTimeout(100);
      }
    }
  }

  /** Builds a version of the arena, or of the crate in a folder: 2 is version 1002. */
  async build(number, crate = undefined) {
    const options = ['--dev', '--plugins', join(this.#folder, 'plugins'), ...(crate ? ['--crate', crate] : [])];
    await promisify(execFile)(BUILD, [...options, String(number)], { env: { ...process.env, ...OF_CARGO } });
  }

  /** Loads a version; one that is still on trial is confirmed before. */
  async load(number) {
    const answer = await this.get(`/load?name=plugin${number}.so&confirm=1`);
    if (answer !== 'done\n') throw new Error(`plugin${number}.so was not loaded: ${answer}`);
  }

  /** Confirms the version that is on trial. */
  async confirm() {
    const answer = await this.get('/api/v1/confirm');
    if (answer !== 'confirmed\n') throw new Error(`nothing was confirmed: ${answer}`);
  }

  /** Takes the version back that is on trial. */
  async rollBack() {
    const answer = await this.get('/api/v1/rollback');
    if (answer !== 'rewound\n') throw new Error(`nothing was taken back: ${answer}`);
  }

  async get(path) {
    return (await fetch(`http://127.0.0.1:${this.port}${path}`)).text();
  }

  /** Has every player's client show something. */
  async notice(severity, text) {
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1/notice`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ severity, text }),
    });
    if (!answer.ok) throw new Error(`the notice was refused: ${await answer.text()}`);
  }

  url(transport, port = this.port) {
    return transport === 'tcp' ? `tcp://127.0.0.1:${port}` : `ws://127.0.0.1:${port}/ws`;
  }

  async stop() {
    this.#process.kill('SIGTERM');
    await this.#ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What lies between players and their engine, and sometimes fails. */
export class Wire {
  #sockets = new Set();
  #server;

  static async to(port) {
    const wire = new Wire();
    wire.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const [one, other] of [[near, far], [far, near]]) {
        wire.#sockets.add(one);
        one.setNoDelay().pipe(other);
        one.on('error', () => {}).on('close', () => { other.destroy(); wire.#sockets.delete(one); });
      }
    });
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    wire.port = wire.#server.address().port;
    return wire;
  }

  /** Breaks every connection that there is. New ones are let through. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
