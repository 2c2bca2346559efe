// The arena in a browser: two pages play, the rules are exchanged under them, and they play on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chromium, findChromium } from './support/chromium.js';
import { Engine, Wire, withEngine } from './support/engine.js';

const program = findChromium();
const withBrowser = { ...withEngine, skip: withEngine.skip || (program ? false : 'no Chromium is installed') };

async function play(browser, url, nick, options) {
  const page = await browser.open(url, options);
  await page.until("!document.getElementById('door').hidden");
  await page.value(`document.getElementById('nick').value = '${nick}'; document.getElementById('enter').requestSubmit()`);
  await page.until('arena.scene.self?.seen');
  await page.value("globalThis.lost = 0; arena.session.on('disconnected', () => { lost += 1; })");
  return page;
}

/** Steers with keys to the farther wall until the avatar has moved a good way. */
async function moves(page) {
  const [x, width] = await page.value('[arena.scene.self.x, arena.scene.map.width]');
  const code = x < width / 2 ? 'KeyD' : 'KeyA';
  await page.key('keyDown', code);
  await page.until(`Math.abs(arena.scene.self.x - ${x}) > 60`);
  await page.key('keyUp', code);
}

const shown = (page, id) => page.value(`document.getElementById('${id}').textContent`);
/** In the page: the nicks of the leaderboard. */
const RANKED = "[...document.querySelectorAll('#ranking .nick')].map((nick) => nick.textContent)";

test('the arena in a browser', withBrowser, async (suite) => {
  const engine = await Engine.start();
  const wire = await Wire.to(engine.port);
  const browser = new Chromium(program);
  const url = `http://127.0.0.1:${wire.port}/`;
  const ann = await play(browser, url, 'Ann');
  const bob = await play(browser, url, 'Bob', { width: 390, height: 800, ratio: 2, touch: true });
  const pages = [ann, bob];
  const faultless = () => assert.deepEqual([ann.faults, bob.faults], [[], []]);

  await suite.test('two players see each other and move', async () => {
    for (const page of pages) {
      for (const nick of ['Ann', 'Bob']) await page.until(`${RANKED}.includes('${nick}')`);
      await page.until(`${RANKED}.length === 5`);
      assert.equal(await shown(page, 'version'), 'version 1001 game1');
      await moves(page);
    }
    const number = await ann.value('arena.scene.own');
    await bob.until(`arena.scene.avatars.get(${number})?.seen`);
    faultless();
  });

  await suite.test('mouse and finger steer', async () => {
    const goal = (page) => page.value('({ left: arena.scene.self.x > arena.scene.map.width / 2, x: arena.scene.self.x, wide: innerWidth, high: innerHeight })');
    const { left, x, high } = await goal(ann);
    await ann.mouse(left ? 5 : 995, high / 2);
    await ann.until(`Math.abs(arena.scene.self.x - ${x}) > 60`);
    const finger = await goal(bob);
    await bob.touch('touchStart', [[200, 500]]);
    await bob.touch('touchMove', [[finger.left ? 120 : 280, 500]]);
    await bob.until(`Math.abs(arena.scene.self.x - ${finger.x}) > 60`);
    await bob.touch('touchEnd', []);
    faultless();
  });

  await suite.test('a swap is seen, and nobody is disconnected', async () => {
    await engine.build(2);
    // It goes by itself: both watch for it from before.
    const toasts = pages.map((page) => page.until("document.querySelector('.toast')?.textContent === 'version 1002 game2 is live'"));
    await engine.load(2);
    await Promise.all(toasts);
    for (const page of pages) {
      await page.until("document.getElementById('version').textContent === 'version 1002 game2'");
      const tick = await page.value('arena.session.tick');
      await page.until(`arena.session.tick > ${tick + 5}`);
      await moves(page);
      assert.equal(await page.value('lost'), 0);
    }
    faultless();
  });

  await suite.test('a version that is taken back is seen too', async () => {
    await engine.build(3);
    await engine.load(3);
    for (const page of pages) await page.until("document.getElementById('version').textContent === 'version 1003 game3'");
    await engine.rollBack();
    for (const page of pages) {
      await page.until("document.getElementById('version').textContent === 'version 1002 game2'");
      await moves(page);
    }
    faultless();
  });

  await suite.test('a notice shows until it is over', async () => {
    await engine.notice('error', 'error[E0308]: mismatched types');
    for (const page of pages) await page.until("document.getElementById('notice-text').textContent === 'error[E0308]: mismatched types'");
    await engine.notice('over', '');
    for (const page of pages) await page.until("document.getElementById('notice').hidden");
  });

  await suite.test('a lost connection comes back as the same player', async () => {
    const players = await Promise.all(pages.map((page) => page.value('arena.session.player')));
    const back = pages.map((page) => page.until("lost === 1 && arena.session.state === 'joined' && document.getElementById('veil').hidden"));
    wire.cut();
    await Promise.all(back);
    assert.deepEqual(await Promise.all(pages.map((page) => page.value('arena.session.player'))), players);
    for (const page of pages) await moves(page);
  });

  await suite.test('a reload goes on as the same player', async () => {
    const before = await ann.value('[arena.session.player, arena.scene.own]');
    await ann.reload();
    await ann.until('arena.scene.self?.seen');
    assert.deepEqual(await ann.value('[arena.session.player, arena.scene.own]'), before);
    await moves(ann);
    faultless();
  });

  await suite.test('who leaves is at the door again', async () => {
    await bob.value("document.getElementById('leave').click()");
    await bob.until("!document.getElementById('door').hidden");
    await ann.until(`!${RANKED}.includes('Bob')`);
    faultless();
  });

  await browser.close();
  wire.close();
  await engine.stop();
});
