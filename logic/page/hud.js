// What is around the field: leaderboard, clock, version, toasts, notices, veil and podium.

import { hueOf } from './scene.js';

const ROWS = 10;
const SHORT_MS = 10_000;
const TOAST_MS = 3600;

export const find = (id) => document.getElementById(id);

/** Writes only what has changed: the page is laid out anew for every write. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function element(name, className, text = '') {
  return Object.assign(document.createElement(name), { className, textContent: text });
}

export function showGame(visible) {
  for (const id of ['board', 'clock', 'status']) find(id).hidden = !visible;
}

export function showRanking(scene) {
  const list = find('ranking');
  const all = scene.ranking();
  const shown = all.slice(0, ROWS);
  // Oneself is always there, wherever that is.
  if (scene.self?.seen && !shown.includes(scene.self)) shown[ROWS - 1] = scene.self;
  while (list.children.length > shown.length) list.lastChild.remove();
  while (list.children.length < shown.length) {
    const row = element('li', '');
    row.append(element('span', 'place'), element('i', 'dot'), element('span', 'nick'), element('span', 'score'));
    list.append(row);
  }
  shown.forEach((avatar, index) => {
    const row = list.children[index];
    const [place, dot, nick, score] = row.children;
    row.classList.toggle('own', avatar === scene.self);
    row.classList.toggle('away', avatar.away);
    nick.classList.toggle('bot', avatar.bot);
    dot.style.setProperty('--colour', `hsl(${hueOf(avatar.number)} 90% 60%)`);
    write(place, String(all.indexOf(avatar) + 1));
    write(nick, avatar.nick);
    write(score, String(avatar.score));
  });
}

export function showClock({ round }, now) {
  const leftMs = Math.max(0, round.endsAt - now);
  const seconds = Math.ceil(leftMs / 1000);
  write(find('round'), round.phase === 2 ? 'next round in' : `round ${round.round}`);
  write(find('left'), `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`);
  find('clock').classList.toggle('short', round.phase === 1 && leftMs < SHORT_MS);
  find('gauge-fill').style.transform = `scaleX(${Math.min(1, leftMs / round.lengthMs)})`;
}

export function showPodium({ phase, podium }) {
  find('podium').hidden = phase !== 2 || podium.length === 0;
  find('places').replaceChildren(...podium.map((place, index) => {
    const row = element('li', '');
    row.append(element('span', 'medal', String(index + 1)), element('span', 'nick', place.nick), element('span', 'score', String(place.score)));
    return row;
  }));
}

/** Panels that somebody could be behind are seen through while one is: a place in the window and a radius, both in pixels. */
export function seeThrough(place) {
  for (const id of ['board', 'clock', 'status', 'notice']) {
    const box = find(id).getBoundingClientRect();
    const hides = place && place.x + place.radius > box.left && place.x - place.radius < box.right
      && place.y + place.radius > box.top && place.y - place.radius < box.bottom;
    find(id).classList.toggle('seen-through', Boolean(hides));
  }
}

export function showVersion({ version, versionName }) {
  write(find('version'), `version ${version} ${versionName}`);
}

export function showRtt(rtt) {
  write(find('rtt'), rtt === undefined ? '' : `${rtt < 10 ? rtt.toFixed(1) : Math.round(rtt)} ms`);
}

export function toast(text) {
  const line = element('div', 'toast', text);
  find('toasts').append(line);
  setTimeout(() => line.remove(), TOAST_MS);
}

/** Another version runs: nobody should miss it. */
export function celebrateVersion({ version, versionName }) {
  showVersion({ version, versionName });
  toast(`version ${version} ${versionName} is live`);
  const [label, flash] = [find('version'), find('flash')];
  label.classList.add('new');
  setTimeout(() => label.classList.remove('new'), TOAST_MS);
  flash.classList.remove('on');
  // The animation begins anew only if the page was laid out in between.
  void flash.offsetWidth;
  flash.classList.add('on');
}

/** What the engine says of a room in which nothing moves until a fix is loaded begins so. */
const FROZEN = 'the room is frozen: ';

function noticeTitle(severity, text) {
  if (severity === 1) return 'From the workshop';
  return text.startsWith(FROZEN) ? 'The game stands still until it is mended; nobody loses their place' : 'The new code has an error; what runs plays on';
}

/** 0 takes it away, 1 is for information, 2 is an error of whoever writes the game. */
export function showNotice({ severity, text }) {
  const banner = find('notice');
  banner.hidden = severity === 0;
  banner.classList.toggle('information', severity === 1);
  // A compiler points at columns; a sentence may be broken where the banner ends.
  banner.classList.toggle('prose', severity === 1 || text.startsWith(FROZEN));
  // Nobody moves who could be behind it.
  banner.classList.toggle('still', text.startsWith(FROZEN));
  write(find('notice-title'), noticeTitle(severity, text));
  write(find('notice-text'), text);
}

/** Covers the field with a line, what is to be known about it, and a button if there is something to do. */
export function showVeil(text, { hint = '', button = '', action, waits = !button } = {}) {
  find('veil').hidden = false;
  find('spinner').hidden = !waits;
  write(find('veil-text'), text);
  find('veil-hint').hidden = !hint;
  write(find('veil-hint'), hint);
  const element = find('veil-button');
  element.hidden = !button;
  write(element, button);
  element.onclick = action;
}

export function hideVeil() {
  find('veil').hidden = true;
}
