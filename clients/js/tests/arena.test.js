// The arena in a browser: two pages play, the rules are exchanged under them, and they play on.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { connect } from '../hotseat.js';
import { Chromium, findChromium } from './support/chromium.js';
import { Engine, Wire, withEngine } from './support/engine.js';
import { watch } from './support/events.js';
import { Game } from './support/game.js';

const program = findChromium();
const withBrowser = { ...withEngine, skip: withEngine.skip || (program ? false : 'no Chromium is installed') };

/** Counts how often the connection is lost from now on. */
const LOST = "globalThis.lost = 0; arena.session.on('disconnected', () => { lost += 1; })";

/** Goes through the door. */
async function enter(page, nick) {
  await page.until("!document.getElementById('door').hidden");
  await page.value(`document.getElementById('nick').value = '${nick}'; document.getElementById('enter').requestSubmit()`);
}

async function play(browser, url, nick, options) {
  const page = await browser.open(url, options);
  await enter(page, nick);
  await page.until('arena.scene.self?.seen');
  await page.value(LOST);
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

/** Has the page steer by itself to the nearest orb, over and over. */
const PILOT = `globalThis.pilot = setInterval(() => {
  const { self, orbs } = arena.scene;
  if (!self || arena.session.state !== 'joined') return;
  const far = ({ x, y }) => Math.hypot(x - self.x, y - self.y) + 1;
  const [goal] = [...orbs.values()].sort((one, other) => far(one) - far(other));
  if (goal) arena.session.send(Int8Array.of(127 * (goal.x - self.x) / far(goal), 127 * (goal.y - self.y) / far(goal)));
}, 60)`;
/** Has the mouse go around, so that each frame wants to go elsewhere, and counts the frames that are drawn. */
const DIZZY = `globalThis.drawn = 0; (() => {
  const field = document.getElementById('field');
  const pen = field.getContext('2d');
  pen.fillRect = (...box) => { drawn += box[2] === innerWidth; CanvasRenderingContext2D.prototype.fillRect.apply(pen, box); };
  let angle = 0;
  globalThis.dizzy = setInterval(() => {
    angle += 0.7;
    const place = { clientX: innerWidth / 2 + 300 * Math.cos(angle), clientY: innerHeight / 2 + 300 * Math.sin(angle) };
    field.dispatchEvent(new PointerEvent('pointermove', { pointerType: 'mouse', ...place }));
  }, 10);
})()`;

async function draws(page, frames) {
  const from = await page.value('drawn');
  await page.until(`drawn > ${from + frames}`);
}

/** Points by which somebody who was brought back differs from somebody new. */
const POINTS = 8;

const shown = (page, id) => page.value(`document.getElementById('${id}').textContent`);
/** In the page: the nicks of the leaderboard. */
const RANKED = "[...document.querySelectorAll('#ranking .nick')].map((nick) => nick.textContent)";

test('the arena in a browser', withBrowser, async (suite) => {
  const engine = await Engine.start();
  const wire = await Wire.to(engine.port);
  const browser = new Chromium(program, ['box.test']);
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

  await suite.test('the engine is killed and started again, and the same players play on in the same pages', async () => {
    // No round ends meanwhile, so that points can be compared.
    const inTime = 'arena.scene.round.phase === 1 && arena.scene.round.endsAt - performance.now() > 40_000';
    for (const page of pages) {
      await page.value(`globalThis.loadedOnce = true; lost = 0; ${PILOT}`);
      await page.value("globalThis.forgotten = 0; arena.session.on('forgotten', () => { forgotten += 1; })");
      // The first state on the connection that is next.
      await page.value(`globalThis.back = undefined; arena.session.on('joined', ({ resumed }) => {
        const stop = arena.session.on('message', ({ tick }) => {
          const { self, own, round } = arena.scene;
          if (self?.seen) { back = { resumed, own, tick, score: self.score, round: round.round }; stop(); }
        });
      })`);
    }
    for (const page of pages) await page.until(`${inTime} && arena.scene.self.score >= ${POINTS}`, 150_000);
    await engine.kill();
    for (const page of pages) await page.until("!document.getElementById('veil').hidden && lost > 0");
    const facts = '({ player: arena.session.player, own: arena.scene.own, tick: arena.session.tick, consumed: arena.session.consumed, score: arena.scene.self.score, round: arena.scene.round.round })';
    const before = await Promise.all(pages.map((page) => page.value(facts)));
    await engine.again();
    for (const [place, page] of pages.entries()) {
      const was = before[place];
      await page.until("back && arena.session.state === 'joined' && document.getElementById('veil').hidden", 60_000);
      const is = await page.value('({ ...back, player: arena.session.player, loadedOnce: globalThis.loadedOnce, forgotten })');
      assert.deepEqual([is.resumed, is.player, is.own, is.round, is.loadedOnce, is.forgotten], [true, was.player, was.own, was.round, true, 0]);
      assert.ok(is.tick >= was.tick, `tick ${is.tick} after ${was.tick}`);
      // At most some were knocked loose in the moments before the kill or since.
      assert.ok(is.score >= was.score / 2, `${is.score} points after ${was.score}`);
      await page.until(`arena.session.consumed > ${was.consumed} + 5 && arena.session.tick > ${is.tick} + 20`);
      await page.value('clearInterval(pilot)');
      await moves(page);
    }
    // The page tries again until the engine is there; the browser notes that it could not connect.
    for (const page of pages) page.faults = page.faults.filter((fault) => !/WebSocket connection .* failed/.test(fault));
    faultless();
  });

  await suite.test('nobody is hidden behind the leaderboard', async () => {
    const through = "document.getElementById('board').classList.contains('seen-through')";
    for (const code of ['KeyA', 'KeyW']) await ann.key('keyDown', code);
    await ann.until(through);
    for (const code of ['KeyA', 'KeyW']) await ann.key('keyUp', code);
    for (const code of ['KeyD', 'KeyS']) await ann.key('keyDown', code);
    await ann.until(`!${through}`);
    for (const code of ['KeyD', 'KeyS']) await ann.key('keyUp', code);
  });

  await suite.test('a reload goes on as the same player', async () => {
    const before = await ann.value('[arena.session.player, arena.scene.own]');
    await ann.reload();
    await ann.until('arena.scene.self?.seen');
    assert.deepEqual(await ann.value('[arena.session.player, arena.scene.own]'), before);
    await moves(ann);
    faultless();
  });

  await suite.test('a frozen room is drawn on, and few inputs come late', async (context) => {
    const game = new Game();
    const tick = 'fn tick(&mut self, ctx: &mut Ctx) {';
    game.edit('src/lib.rs', tick, `${tick} assert!(self.avatars.iter().all(|avatar| avatar.nick != "Doom"));`);
    await engine.build(4, game.crate);
    game.remove();
    await engine.load(4);
    await engine.confirm();
    const cid = await browser.open(url);
    const doom = connect({ url: engine.url('tcp'), hello: 'Doom' });
    context.after(() => doom.close());
    const { event } = watch(doom);
    for (const page of pages) await page.until("document.getElementById('notice-title').textContent.startsWith('The game stands still')");
    // Who comes now is told why they do not get in, and does once it is mended.
    await enter(cid, 'Cid');
    await cid.until("document.getElementById('veil-hint').textContent.startsWith('the room main is frozen: ')");
    assert.equal(await shown(cid, 'veil-text'), 'Connecting …');
    for (const page of pages) await page.value(LOST);
    await ann.value(DIZZY);
    await draws(ann, 120);
    const waiting = await ann.value('arena.session.unconsumed');
    assert.ok(waiting > 0 && waiting <= 16, `${waiting} inputs wait`);
    // Also where no more are taken.
    await ann.value("try { for (;;) arena.session.send(Int8Array.of(1, 1)); } catch (error) { if (error.name !== 'QueueFull') throw error; }");
    await draws(ann, 20);
    faultless();
    await engine.load(2);
    for (const page of pages) {
      await page.until("document.getElementById('version').textContent === 'version 1002 game2' && document.getElementById('notice').hidden");
      await page.until('arena.session.unconsumed === 0', 60_000);
    }
    await ann.value('clearInterval(dizzy)');
    for (const page of pages) await moves(page);
    await cid.until("arena.scene.self?.seen && document.getElementById('veil').hidden", 60_000);
    await cid.value("document.getElementById('leave').click()");
    doom.leave();
    await event('closed');
    for (const page of pages) assert.equal(await page.value('lost'), 0);
    faultless();
  });

  await suite.test('a page that the engine refuses is told what may be the matter, and comes back to the door', async () => {
    const page = await browser.open(`http://box.test:${engine.port}/`);
    await enter(page, 'Dan');
    await page.until("!document.getElementById('veil-button').hidden");
    assert.equal(await shown(page, 'veil-button'), 'Back to the door');
    assert.match(await shown(page, 'veil-hint'), new RegExp(`^Nobody answers at box.test:${engine.port}\\. .* allowed_hosts`));
    await page.value("document.getElementById('veil-button').click()");
    await page.until("!document.getElementById('door').hidden && document.getElementById('veil').hidden");
    assert.equal(await page.value("document.getElementById('reason').hidden"), true);
  });

  await suite.test("the README's second act: the tables change, and the pages do not blink", async () => {
    const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
    const [, command] = /## The arena's second act[^]*?\n(sed -i [^]*? logic\/src\/avatar\.rs)\n/.exec(readme);
    const game = new Game();
    game.run(command);
    await engine.build(5, game.crate);
    game.remove();
    const facts = '({ player: arena.session.player, own: arena.scene.own, round: arena.scene.round.round })';
    const before = await Promise.all(pages.map((page) => page.value(`${LOST}; ${facts}`)));
    await engine.load(5);
    for (const [place, page] of pages.entries()) {
      await page.until("document.getElementById('version').textContent === 'version 1005 game5'");
      const { round, ...who } = await page.value(facts);
      const { round: roundBefore, ...whoBefore } = before[place];
      assert.deepEqual(who, whoBefore);
      assert.ok(round >= roundBefore, `round ${round} after ${roundBefore}`);
      await moves(page);
    }
    // Back, over what would be lost.
    const back = await engine.get('/load?name=plugin1.so&confirm=1');
    assert.match(back, /Avatar\.lives/);
    assert.equal(await engine.get('/load?name=plugin1.so&drop=Avatar.lives&confirm=1'), 'done\n');
    for (const page of pages) {
      await page.until("document.getElementById('version').textContent === 'version 1001 game1'");
      await moves(page);
      assert.equal(await page.value('lost'), 0);
    }
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

test('a saved rule changes the game under the players\' hands', withBrowser, async (suite) => {
  const game = new Game();
  const engine = await Engine.dev(game.crate);
  const browser = new Chromium(program);
  const ann = await play(browser, `http://127.0.0.1:${engine.port}/`, 'Ann');
  await ann.value("globalThis.mishaps = []; for (const name of ['disconnected', 'joined', 'resync', 'error', 'forgotten']) arena.session.on(name, () => mishaps.push(name))");
  assert.equal(await shown(ann, 'version'), 'version 1001 dev1');
  const player = await ann.value('arena.session.player');

  await suite.test('it is built, and goes live while they play', async (context) => {
    await ann.value(PILOT);
    const saved = performance.now();
    game.edit('src/rules.rs', 'SPEED: f32 = 380.0;', 'SPEED: f32 = 900.0;');
    await ann.until("document.getElementById('version').textContent === 'version 1002 dev2'", 240_000);
    context.diagnostic(`shown ${Math.round(performance.now() - saved)} ms after it was saved`);
    await ann.value('clearInterval(pilot)');
    await ann.until('arena.session.unconsumed === 0');
    await ann.key('keyDown', await ann.value('arena.scene.self.x < arena.scene.map.width / 2') ? 'KeyD' : 'KeyA');
    await ann.until('Math.abs(arena.scene.self.vx) > 450');
    for (const code of ['KeyD', 'KeyA']) await ann.key('keyUp', code);
  });

  await suite.test('a typo is shown where they play and where it was made, and what runs plays on', async () => {
    game.edit('src/rules.rs', 'SPEED: f32 = 900.0;', 'SPEED: f32 = fast;');
    await ann.until("!document.getElementById('notice').hidden && document.getElementById('notice-text').textContent.includes('cannot find value `fast`')", 240_000);
    assert.match(await shown(ann, 'notice-title'), /what runs plays on/);
    await engine.says('cannot find value `fast`');
    await engine.says('version 1002 plays on');
    await moves(ann);
    game.edit('src/rules.rs', 'SPEED: f32 = fast;', 'SPEED: f32 = 500.0;');
    await ann.until("document.getElementById('version').textContent === 'version 1003 dev3' && document.getElementById('notice').hidden", 240_000);
    await moves(ann);
  });

  assert.deepEqual([await ann.value('arena.session.player'), await ann.value('mishaps'), ann.faults], [player, [], []]);
  await browser.close();
  await engine.stop();
  game.remove();
});
