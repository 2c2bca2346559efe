// The wall: shows what the room tells, and sends where a player paints.

import { connect } from './hotseat.js';

const COLOURS = ['#1d2029', '#e4572e', '#f3a712', '#a8c686', '#669bbc', '#29335c', '#d6a2ad', '#8d5a97', '#f0f3f5'];

const canvas = document.getElementById('wall');
const status = document.getElementById('status');
const notice = document.getElementById('notice');
const brush = canvas.getContext('2d');
const address = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;

/** The room has begun anew, as with each start of `engine dev`, or the player was away for too long. */
const NO_SUCH_TOKEN = 4410;

let session;
let version = '';

function play(token) {
  session = connect({ url: address, token });
  session.on('joined', (joined) => {
    sessionStorage.token = joined.token;
    version = `${joined.versionName} (${joined.version})`;
    status.textContent = version;
    brush.clearRect(0, 0, canvas.width, canvas.height);
  });
  session.on('message', ({ bytes }) => {
    for (let at = 0; at + 2 < bytes.length; at += 3) {
      brush.fillStyle = COLOURS[bytes[at + 2]] ?? COLOURS[0];
      brush.fillRect(bytes[at], bytes[at + 1], 1, 1);
    }
  });
  session.on('version', (now) => {
    version = `${now.versionName} (${now.version})`;
    status.textContent = version;
  });
  // Under `engine dev`: the compiler's words, while a build fails.
  session.on('notice', ({ severity, text }) => { notice.textContent = severity === 0 ? '' : text; });
  session.on('disconnected', ({ reason }) => { status.textContent = `connection lost; trying again ${reason && `(${reason})`}`; });
  session.on('closed', ({ code, reason }) => {
    delete sessionStorage.token;
    if (code === NO_SUCH_TOKEN) return play();
    status.textContent = `out: ${reason || code}; reload to come back`;
  });
}

let last = '';
function paint(event) {
  const box = canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * canvas.width);
  const y = Math.floor((event.clientY - box.top) / box.height * canvas.height);
  const here = `${x} ${y}`;
  if (here !== last && x >= 0 && y >= 0 && x < canvas.width && y < canvas.height) {
    last = here;
    if (session.state !== 'closed') session.send(Uint8Array.of(x, y));
  }
}
canvas.addEventListener('pointerdown', (event) => { last = ''; paint(event); });
canvas.addEventListener('pointermove', (event) => { if (event.buttons) paint(event); });

// A tab is a player; a reload is the same one.
play(sessionStorage.token);
