// A copy of the arena's source, for tests that change the game.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

/** A workspace of its own. The name is not that of the original, whose library lies in the same target folder. */
const MANIFEST = `[package]
name = "arena-copy"
version = "0.1.0"
edition = "2024"

[workspace]

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
logic_api = { path = ${JSON.stringify(join(ROOT, 'logic_api'))} }
`;

export class Game {
  #folder = mkdtempSync(join(tmpdir(), 'hotseat-game-'));
  /** Of the crate, as it lies in the project: the page takes the client in by its path. */
  crate = join(this.#folder, 'logic');

  constructor() {
    for (const name of ['src', 'page']) cpSync(join(ROOT, 'logic', name), join(this.crate, name), { recursive: true });
    mkdirSync(join(this.#folder, 'clients', 'js'), { recursive: true });
    copyFileSync(join(ROOT, 'clients/js/hotseat.js'), join(this.#folder, 'clients/js/hotseat.js'));
    // The dependencies of the project, which are there already.
    copyFileSync(join(ROOT, 'Cargo.lock'), join(this.crate, 'Cargo.lock'));
    writeFileSync(join(this.crate, 'Cargo.toml'), MANIFEST);
  }

  /** Saves a file of the crate with one text in it changed. */
  edit(file, from, to) {
    const path = join(this.crate, file);
    const text = readFileSync(path, 'utf8');
    assert.equal(text.split(from).length, 2, `'${from}' is once in ${file}`);
    writeFileSync(path, text.replace(from, () => to));
  }

  /** Runs a command of the README's in the copy, as it would be run in the project's folder. */
  run(command) {
    execFileSync('bash', ['-c', command], { cwd: this.#folder });
  }

  remove() {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
