// The arena's page: joins the room, shows what comes, sends where to.

import { QueueFull, connect } from './hotseat.js';
import { Drawing } from './draw.js';
import * as hud from './hud.js';
import { UnknownNews, readNews } from './news.js';
import { Scene } from './scene.js';
import { Steering } from './steer.js';

/** Where to is sent at most so often, and only when it has changed. */
const SEND_EVERY_MS = 50;
/** So many inputs on their way are no reason to wait. A room that is frozen takes none, and nobody wants to see these late. */
const UNCONSUMED_MAX = 16;
const RANKING_EVERY_MS = 200;
/** A page that is not understood even when it is new is not loaded again and again. */
const RELOAD_EVERY_MS = 10_000;
/** After so many attempts that led nowhere it may be that none ever will. */
const PATIENT_ATTEMPTS = 3;
/** Asks the logic for everything anew. */
const TELL_ALL = Uint8Array.of(0);
const ELSEWHERE = 4409;
const NO_SUCH_TOKEN = 4410;

const room = new URLSearchParams(location.search).get('room') ?? location.hash.slice(1);
// Each tab is a player of its own, in each room; a reload is the same one.
const tokenKey = `hotseat.token.${room}`;
const nickKey = 'hotseat.nick';

const canvas = hud.find('field');
const scene = new Scene();
const drawing = new Drawing(canvas);
const steering = new Steering(canvas);
let session;
let sent = { x: 0, y: 0, at: 0 };
let rankedAt = 0;
/** Attempts to connect since the player was last in. */
let attempts = 0;

// For the browser's console.
globalThis.arena = { scene, get session() { return session; } };

function play(token) {
  attempts = 0;
  hud.showVeil('Connecting …');
  hud.find('door').hidden = true;
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
  session = connect({ url, room, token, hello: localStorage.getItem(nickKey) ?? '' });
  session.on('joined', joined);
  session.on('message', ({ bytes }) => take(bytes));
  session.on('version', hud.celebrateVersion);
  session.on('resync', ({ version, reason }) => {
    hud.showVersion(session);
    hud.toast(`back to version ${version}: ${reason}`);
    askForAll();
  });
  session.on('rtt', ({ rtt }) => hud.showRtt(rtt));
  session.on('notice', hud.showNotice);
  session.on('error', ({ text }) => hud.toast(text));
  session.on('disconnected', disconnected);
  session.on('closed', closed);
}

function joined({ token, version, versionName }) {
  sessionStorage.setItem(tokenKey, token);
  scene.setTickRate(session.ticksPerSecond);
  sent = { x: 0, y: 0, at: 0 };
  attempts = 0;
  hud.showVersion({ version, versionName });
  hud.showGame(true);
  hud.hideVeil();
}

function disconnected({ reason }) {
  attempts += 1;
  const gaveUp = attempts > PATIENT_ATTEMPTS;
  const button = gaveUp ? 'Back to the door' : '';
  const action = () => { session.close(); openDoor(''); };
  hud.showVeil(session.player ? 'Reconnecting …' : 'Connecting …', { hint: reason || (gaveUp ? whyInVain() : ''), button, action, waits: true });
}

/** Browsers tell a page nothing of why it may not connect. Under an address, or on the engine's machine, it may. */
function whyInVain() {
  const nobody = `Nobody answers at ${location.host}.`;
  if (location.hostname === 'localhost' || !/^[^[]*[a-z]/i.test(location.hostname)) return `${nobody} Once the engine runs, the game goes on.`;
  return `${nobody} If the engine runs, it may not let a page of this name connect: its log says so, and allowed_hosts in engine.toml `
    + 'lists the names that it takes.';
}

function closed({ code, reason }) {
  if (code === ELSEWHERE) {
    hud.showVeil('You play on in another window.', { button: 'Play here', action: () => play(sessionStorage.getItem(tokenKey)) });
    return;
  }
  sessionStorage.removeItem(tokenKey);
  // Away for too long, or the room is not the one that it was: come in as somebody new.
  if (code === NO_SUCH_TOKEN) return play();
  openDoor(code === 1000 ? '' : reason || `The connection was closed (${code}).`);
}

function take(bytes) {
  try {
    const parts = readNews(bytes);
    scene.take(parts, performance.now());
    if (parts.some((part) => part.kind === 'round')) hud.showPodium(scene.round);
  } catch (error) {
    if (!(error instanceof UnknownNews || error instanceof RangeError)) throw error;
    loadAnew(error);
  }
}

/** The game has changed more than this page knows of; the session goes on in a new one. */
function loadAnew(error) {
  const before = Number(sessionStorage.getItem('hotseat.loaded') ?? 0);
  if (Date.now() - before > RELOAD_EVERY_MS) {
    sessionStorage.setItem('hotseat.loaded', String(Date.now()));
    location.reload();
  } else {
    hud.showVeil(`The arena says what this page does not know: ${error.message}.`, { button: 'Load it anew', action: () => location.reload() });
  }
}

function askForAll() {
  if (session.state !== 'joined') return;
  try {
    session.send(TELL_ALL);
  } catch (error) {
    // Nothing has come through for long; whoever comes back is told everything.
    if (!(error instanceof QueueFull)) throw error;
  }
}

/** `isUrgent`: however much waits to be heard. */
function steer(now, isUrgent = false) {
  const [x, y] = scene.self ? steering.direction(drawing.toWindow(scene.self)) : [0, 0];
  const message = { x: Math.round(x * 127), y: Math.round(y * 127) };
  const changed = message.x !== sent.x || message.y !== sent.y;
  // While there is no connection nothing is sent: nobody wants to go where they wanted to go ten seconds ago.
  const isHeard = session?.state === 'joined' && (isUrgent || session.unconsumed < UNCONSUMED_MAX);
  if (changed && now - sent.at >= SEND_EVERY_MS && isHeard) {
    session.send(Int8Array.of(message.x, message.y));
    sent = { ...message, at: now };
  }
  return [x, y];
}

function frame(now) {
  requestAnimationFrame(frame);
  scene.advance(now);
  const direction = steer(now);
  drawing.draw(scene, steering, direction, now);
  if (session && now - rankedAt > RANKING_EVERY_MS) {
    rankedAt = now;
    hud.showRanking(scene);
    hud.showClock(scene, now);
    hud.seeThrough(scene.self?.seen && drawing.spot(scene.self));
  }
}

function openDoor(reason) {
  scene.clear();
  hud.showGame(false);
  hud.hideVeil();
  hud.showPodium({ phase: 0, podium: [] });
  const line = hud.find('reason');
  line.hidden = !reason;
  line.textContent = reason;
  hud.find('door').hidden = false;
  const nick = hud.find('nick');
  nick.value = localStorage.getItem(nickKey) ?? '';
  nick.focus();
  nick.select();
}

hud.find('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  localStorage.setItem(nickKey, hud.find('nick').value.trim());
  hud.find('nick').blur();
  play();
});
hud.find('leave').addEventListener('click', () => session?.leave());
hud.find('notice-close').addEventListener('click', () => hud.showNotice({ severity: 0, text: '' }));
// A tab in the background must not drive on.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    steering.release();
    // Nothing is sent again from here on.
    steer(performance.now() + SEND_EVERY_MS, true);
  }
});

const kept = sessionStorage.getItem(tokenKey);
if (kept) play(kept);
else openDoor('');
requestAnimationFrame(frame);
