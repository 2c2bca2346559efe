// What 'engine new' makes, in a browser: the page that everybody's own game begins with.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Chromium, findChromium } from './support/chromium.js';
import { Engine, PROGRAM, withEngine } from './support/engine.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const program = findChromium();
const withBrowser = { ...withEngine, skip: withEngine.skip || (program ? false : 'no Chromium is installed') };

const STATUS = "document.getElementById('status').textContent";

/** Puts the pointer down on the wall, and waits until the room has told of it. */
async function paint(page, share) {
  await page.value(`(() => {
    const wall = document.getElementById('wall');
    const { left, top, width, height } = wall.getBoundingClientRect();
    wall.dispatchEvent(new PointerEvent('pointerdown', { clientX: left + ${share} * width, clientY: top + ${share} * height }));
  })()`);
  await page.until(`(() => {
    const wall = document.getElementById('wall');
    return wall.getContext('2d').getImageData(${share} * wall.width, ${share} * wall.height, 1, 1).data[3] > 0;
  })()`);
}

test('a new game is played, and its page comes back when engine dev is started anew', withBrowser, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'hotseat-new-'));
  execFileSync(PROGRAM, ['new', 'wall', '--hotseat', ROOT], { cwd: folder });
  // The dependencies of the project, which are there already.
  copyFileSync(join(ROOT, 'Cargo.lock'), join(folder, 'wall', 'Cargo.lock'));
  const engine = await Engine.dev(join(folder, 'wall'));
  context.after(() => engine.stop());
  const browser = new Chromium(program);
  context.after(() => browser.close());
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const page = await browser.open(`http://127.0.0.1:${engine.port}/`);
  await page.until(`${STATUS} === 'dev1 (1001)'`);
  await paint(page, 0.5);
  assert.deepEqual(page.faults, []);

  await engine.kill();
  await page.until(`${STATUS}.startsWith('connection lost')`);
  // While nobody is there one may paint, too.
  await page.value("document.getElementById('wall').dispatchEvent(new PointerEvent('pointerdown', { clientX: 1, clientY: 1 }))");
  await engine.again();
  // Its world is a new one, in which nobody knows the token.
  await page.until(`${STATUS} === 'dev2 (1002)'`, 60_000);
  await paint(page, 0.25);
  // The browser notes each time that it could not connect.
  assert.deepEqual(page.faults.filter((fault) => !/WebSocket connection .* failed/.test(fault)), []);
});
