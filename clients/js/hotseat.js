// A player's session with a Hotseat engine, for browsers and Node: docs/protocol.md is what it speaks.
//
// A session outlives its connections: it comes back with its resume token, and sends again what the engine has not
// consumed. Whatever happens in between, the logic gets every input once.

const JOIN = 0x01, RESUME = 0x02, MESSAGE = 0x03, PING = 0x04, PONG = 0x05, LEAVE = 0x06;
const JOINED = 0x81, MESSAGE_OF_LOGIC = 0x83, PONG_OF_ENGINE = 0x84, PING_OF_ENGINE = 0x85, VERSION = 0x86;
const RESYNC = 0x87, ERROR = 0x88, NOTICE = 0x89, CLOSING = 0x8f;
const HEADER_BYTES = 13;
/** Before the bytes of an input: its kind and its number. */
const INPUT_HEADER_BYTES = 5;
const TOKEN_BYTES_MAX = 256;
/** A timer that is set for longer is over at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** A TCP frame longer than this is none. */
const TCP_FRAME_BYTES_MAX = (64 << 20) + 4096;
const TCP_PREAMBLE = Uint8Array.of(0x00, 0x48, 0x53, 0x01);
const SUBPROTOCOL = 'hotseat.1';

/** The close codes after which there is nothing to resume. After any other one the session comes back. */
const FINAL = new Set([1000, 4401, 4403, 4404, 4409, 4410, 4440, 4503]);
/** A frame is at fault, malformed or too long, and it might be one that goes out again on the next connection. */
const REFUSED = new Set([4400, 4413]);
const LEFT = 1000, TOKEN_INVALID = 4410;
/** A connection that ended without saying why, as a WebSocket calls it. */
const ABNORMAL = 1006;

/** Milliseconds within which the engine has to hear that the player leaves. */
const LEAVE_MS_MAX = 10_000;
/** Inputs that go out at once; those behind them at `inputsPerSecondMax`. */
const BURST_MAX = 64;
/** Milliseconds until inputs that had to wait for the rate are looked at again. */
const PACE_MS = 20;

const DEFAULTS = {
  url: undefined,
  room: '',
  hello: new Uint8Array(0),
  credentials: '',
  token: undefined,
  WebSocket: undefined,
  /** Milliseconds before the first attempt to come back; doubled with each one, up to the maximum. */
  retryMs: 250,
  retryMsMax: 8000,
  /** A connection that stays silent for so long counts as gone. */
  silenceMs: 10_000,
  pingMs: 2000,
  queuedInputsMax: 1024,
  queuedBytesMax: 1 << 20,
  /** What an engine takes that is not configured otherwise. */
  inputBytesMax: 65_536 - INPUT_HEADER_BYTES,
  /** Below the 200 frames a second of an engine that is not configured otherwise, pings and pongs among them. */
  inputsPerSecondMax: 150,
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Begins a session. It connects, and joins or resumes, on its own; listen to its events. */
export function connect(options) {
  return new Session(options);
}

/** An input that was not taken: too many have been waiting for the engine already. */
export class QueueFull extends Error {
  constructor(inputs, bytes) {
    super(`${inputs} inputs with ${bytes} bytes wait for the engine already: send less, or wait for 'joined'`);
    this.name = 'QueueFull';
  }
}

/** An input that was not taken: the engine would close the connection for it, whenever it came. */
export class InputTooLong extends Error {
  constructor(bytes, bytesMax) {
    super(`an input of ${bytes} bytes; at most ${bytesMax} are taken (inputBytesMax, queuedBytesMax): send it in parts`);
    this.name = 'InputTooLong';
  }
}

export class Session {
  /** What the engine said last; see hotseat.d.ts. */
  player = 0;
  room = '';
  token;
  version = 0;
  versionName = '';
  ticksPerSecond = 0;
  tick = 0;
  consumed = 0;
  rtt;
  /** 'connecting', 'joined', 'waiting' (to connect again) or 'closed'. */
  state = 'connecting';

  #options = { ...DEFAULTS };
  #listeners = new Map();
  /** Inputs that the engine has not consumed yet, the oldest first. */
  #inputs = [];
  #inputBytes = 0;
  #lastNumber = 0;
  /** The highest number that went out on any connection, or was consumed. */
  #sentNumber = 0;
  /** How many of them went out on this connection. */
  #sent = 0;
  /** How many more may go out now; it fills with time. */
  #allowance = 0;
  #allowedAt = 0;
  #pacing;
  #transport;
  #closing;
  /** Whether a Join or Resume went out on this connection. */
  #asked = false;
  #leaving = false;
  /** Whether a Leave went out on this connection. */
  #saidLeave = false;
  #leaveTimeout;
  /** Of the versions that ran while this session was there. */
  #names = new Map();
  #wasJoined = false;
  #joinedAt = 0;
  #attempts = 0;
  /** What the engine had consumed when it last closed the connection because of a frame that was too long. */
  #refusedAt;
  #retry;
  #pinging;
  #pings = 0;
  #pingSentAt;
  #heardAt = 0;
  #online = () => this.#connectNow();

  constructor(options) {
    const known = Object.keys(DEFAULTS);
    for (const [name, value] of Object.entries(options)) {
      if (!known.includes(name)) throw new TypeError(`there is no option '${name}'; there are ${known.join(', ')}`);
      if (value !== undefined) this.#options[name] = value;
    }
    this.#options.url = String(this.#options.url);
    this.#options.hello = bytesOf(this.#options.hello);
    this.token = this.#options.token || undefined;
    checkOptions(this.#options);
    globalThis.addEventListener?.('online', this.#online);
    queueMicrotask(() => this.#connect());
  }

  /** Listens to an event; gives a function that stops it. */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Sends bytes (or text, as UTF-8) to the logic, now or once there is a connection; gives the input's number. */
  send(message) {
    if (this.state === 'closed') throw new Error('the session is over: begin another one');
    const bytes = bytesOf(message);
    const { queuedInputsMax, queuedBytesMax, inputBytesMax } = this.#options;
    const bytesMax = Math.min(inputBytesMax, queuedBytesMax);
    if (bytes.length > bytesMax) throw new InputTooLong(bytes.length, bytesMax);
    if (this.#inputs.length >= queuedInputsMax || this.#inputBytes + bytes.length > queuedBytesMax) {
      throw new QueueFull(this.#inputs.length, this.#inputBytes);
    }
    this.#lastNumber += 1;
    const input = { number: this.#lastNumber, bytes: bytes.slice() };
    this.#inputs.push(input);
    this.#inputBytes += bytes.length;
    if (this.state === 'joined') this.#sendWaiting();
    return input.number;
  }

  /** Inputs that the engine has not consumed yet. */
  get unconsumed() {
    return this.#inputs.length;
  }

  /** Leaves the room for good. */
  leave() {
    if (this.state === 'closed' || this.#leaving) return;
    // Of somebody who has asked for nothing the engine does not know.
    if (!this.token && !this.#asked) return this.#end(LEFT, 'left');
    this.#leaving = true;
    const reason = `the engine did not hear within ${LEAVE_MS_MAX} ms that the player leaves`;
    this.#leaveTimeout = setTimeout(() => this.#end(0, reason), LEAVE_MS_MAX);
    if (this.state === 'joined') this.#sendWaiting();
    else this.#connectNow();
  }

  /** Hangs up without leaving: whoever has the token may come back within the engine's grace. */
  close() {
    if (this.state !== 'closed') this.#end(0, 'hung up');
  }

  #emit(event, detail) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        // The listener's fault, which neither the session nor the other listeners should suffer from.
        queueMicrotask(() => { throw error; });
      }
    }
  }

  #connect() {
    if (this.state === 'closed') return;
    this.state = 'connecting';
    this.#closing = undefined;
    this.#pingSentAt = undefined;
    this.#heardAt = performance.now();
    let transport;
    // A transport that was given up may still have something to say.
    const current = (action) => (...details) => transport === this.#transport && action(...details);
    const events = {
      open: current(() => {
        this.#asked = true;
        this.#transport.send(this.token ? resumeFrame(this.token) : joinFrame(this.#options));
      }),
      frame: current((frame) => this.#take(frame)),
      close: current((code, reason) => this.#lost(this.#closing ?? { code, reason })),
    };
    try {
      transport = this.#transport = openTransport(this.#options, events);
    } catch (error) {
      // A browser makes no WebSocket that its page may not open, nor one to an address with a fragment; nor will it later.
      return this.#end(0, error.message);
    }
    clearInterval(this.#pinging);
    this.#pinging = setInterval(() => this.#ping(), this.#options.pingMs);
  }

  #connectNow() {
    if (this.state === 'waiting') {
      clearTimeout(this.#retry);
      this.#connect();
    }
  }

  #lost({ code, reason }) {
    this.#hangUp();
    // Without a token there is no way back to say it; with one that holds no more it was heard.
    if (this.#leaving && (!this.token || code === TOKEN_INVALID)) return this.#end(LEFT, 'left');
    if (FINAL.has(code) || (REFUSED.has(code) && this.#isRefusedAgain(code))) return this.#end(code, reason);
    // A connection that held for a while was a good one; one that did not counts as another failed attempt.
    if (this.#joinedAt && performance.now() - this.#joinedAt > this.#options.retryMsMax) this.#attempts = 0;
    this.#joinedAt = 0;
    const { retryMs, retryMsMax } = this.#options;
    const delay = Math.min(retryMsMax, retryMs * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.state = 'waiting';
    this.#retry = setTimeout(() => this.#connect(), delay);
    this.#emit('disconnected', { code, reason, retryInMs: delay });
  }

  /** The same frame goes out on each connection, first of all: the session could come back with it for ever. */
  #isRefusedAgain(code) {
    const at = `${code} after ${this.consumed}`;
    const isAgain = this.#refusedAt === at;
    this.#refusedAt = at;
    return isAgain;
  }

  #end(code, reason) {
    this.#hangUp();
    this.state = 'closed';
    clearTimeout(this.#retry);
    clearTimeout(this.#leaveTimeout);
    globalThis.removeEventListener?.('online', this.#online);
    this.#emit('closed', { code, reason });
  }

  #hangUp() {
    clearInterval(this.#pinging);
    clearTimeout(this.#pacing);
    this.#pacing = undefined;
    [this.#asked, this.#saidLeave] = [false, false];
    const transport = this.#transport;
    this.#transport = undefined;
    transport?.close();
  }

  #ping() {
    if (performance.now() - this.#heardAt > this.#options.silenceMs) {
      return this.#lost({ code: ABNORMAL, reason: `nothing was heard for ${this.#options.silenceMs} ms` });
    }
    if (this.state !== 'joined' || this.#pingSentAt !== undefined) return;
    this.#pings += 1;
    this.#pingSentAt = performance.now();
    const frame = new DataView(new ArrayBuffer(9));
    frame.setUint8(0, PING);
    frame.setBigUint64(1, BigInt(this.#pings), true);
    this.#transport.send(new Uint8Array(frame.buffer));
  }

  #take(frame) {
    this.#heardAt = performance.now();
    try {
      this.#read(frame);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#lost({ code: ABNORMAL, reason: `the engine sent a frame that is none: ${error.message}` });
    }
  }

  #read(frame) {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const kind = view.getUint8(0);
    const tick = Number(view.getBigUint64(1, true));
    const consumed = view.getUint32(9, true);
    const text = (from) => decoder.decode(frame.subarray(from));
    if (kind !== CLOSING || this.state === 'joined') {
      this.tick = tick;
      if (kind !== JOINED) this.#consume(consumed);
    }
    switch (kind) {
      case JOINED:
        return this.#joined(view, frame, consumed);
      case MESSAGE_OF_LOGIC:
        return this.#emit('message', { bytes: frame.subarray(HEADER_BYTES), tick, consumed });
      case PONG_OF_ENGINE:
        return this.#pong(view.getBigUint64(HEADER_BYTES, true));
      case PING_OF_ENGINE: {
        view.getBigUint64(HEADER_BYTES, true);
        const pong = frame.slice(HEADER_BYTES - 1, HEADER_BYTES + 8);
        pong[0] = PONG;
        return this.#transport.send(pong);
      }
      case VERSION:
        return this.#runs(view.getUint32(HEADER_BYTES, true), text(HEADER_BYTES + 4));
      case RESYNC: {
        const version = view.getUint32(HEADER_BYTES, true);
        // Its name is not told, but mostly known from when it ran before.
        [this.version, this.versionName] = [version, this.#names.get(version) ?? ''];
        return this.#emit('resync', { version, versionName: this.versionName, reason: text(HEADER_BYTES + 4), tick });
      }
      case ERROR: {
        const [code, number] = [view.getUint16(HEADER_BYTES, true), view.getUint32(HEADER_BYTES + 2, true)];
        return this.#emit('error', { code, number, text: text(HEADER_BYTES + 6) });
      }
      case NOTICE:
        return this.#emit('notice', { severity: view.getUint8(HEADER_BYTES), text: text(HEADER_BYTES + 1) });
      case CLOSING:
        this.#closing = { code: view.getUint16(HEADER_BYTES, true), reason: text(HEADER_BYTES + 2) };
        return this.#lost(this.#closing);
      default:
        // From a later engine: what this client does not know it can do without.
    }
  }

  #joined(view, frame, consumed) {
    let at = HEADER_BYTES + 15;
    const text = () => {
      const from = at + 1;
      at = from + view.getUint8(at);
      return decoder.decode(frame.subarray(from, at));
    };
    this.player = Number(view.getBigUint64(HEADER_BYTES, true));
    const resumed = view.getUint8(HEADER_BYTES + 8) === 1;
    this.ticksPerSecond = view.getUint16(HEADER_BYTES + 9, true);
    const version = view.getUint32(HEADER_BYTES + 11, true);
    const versionName = text();
    this.room = text();
    this.token = decoder.decode(frame.subarray(at));
    const { forgotten, foreign, unsure } = this.#renumber(consumed);
    this.#consume(consumed);
    this.state = 'joined';
    this.#joinedAt = performance.now();
    [this.#sent, this.#allowance, this.#allowedAt] = [0, BURST_MAX, this.#joinedAt];
    this.#sendWaiting();
    this.#names.set(version, versionName);
    const changed = this.#wasJoined && (version !== this.version || versionName !== this.versionName);
    // Whoever comes with a token for the first time knows that there was somebody before.
    const overtaken = this.#wasJoined && foreign;
    [this.version, this.versionName, this.#wasJoined] = [version, versionName, true];
    const { player, room, token, ticksPerSecond } = this;
    this.#emit('joined', { player, resumed, room, token, version, versionName, ticksPerSecond });
    if (forgotten && this.state === 'joined') this.#emit('forgotten', { count: forgotten });
    if (overtaken && this.state === 'joined') this.#emit('overtaken', { count: foreign, unsure });
    if (changed && this.state === 'joined') this.#runs(version, versionName);
    this.#ping();
  }

  /** Sends what has not been sent on this connection, and behind it that the player leaves, no faster than an engine takes it. */
  #sendWaiting() {
    if (this.#pacing !== undefined || this.#saidLeave) return;
    const now = performance.now();
    const { inputsPerSecondMax } = this.#options;
    this.#allowance = Math.min(BURST_MAX, this.#allowance + (now - this.#allowedAt) / 1000 * inputsPerSecondMax);
    this.#allowedAt = now;
    for (; this.#sent < this.#inputs.length && this.#allowance >= 1; this.#allowance -= 1) {
      const input = this.#inputs[this.#sent];
      this.#transport.send(messageFrame(input));
      this.#sentNumber = Math.max(this.#sentNumber, input.number);
      this.#sent += 1;
    }
    if (this.#sent < this.#inputs.length) {
      this.#pacing = setTimeout(() => { this.#pacing = undefined; this.#sendWaiting(); }, PACE_MS);
    } else if (this.#leaving) {
      this.#saidLeave = true;
      this.#transport.send(Uint8Array.of(LEAVE));
    }
  }

  /**
   * Has the inputs go on from where the engine is: back if the engine lost, with its power, some that it had consumed, and
   * further on if somebody else sent inputs of the player. What never went out from here cannot be among those.
   */
  #renumber(consumed) {
    const base = this.#inputs.length ? this.#inputs[0].number - 1 : this.#lastNumber;
    const forgotten = Math.max(0, base - consumed);
    for (const input of this.#inputs) input.number -= forgotten;
    this.#lastNumber -= forgotten;
    this.#sentNumber -= forgotten;
    const foreign = Math.max(0, consumed - this.#sentNumber);
    const unsent = this.#inputs.filter(({ number }) => number > this.#sentNumber);
    const unsure = this.#inputs.length - unsent.length;
    for (const input of unsent) input.number += foreign;
    this.#lastNumber += foreign;
    this.#sentNumber += foreign;
    return { forgotten, foreign, unsure };
  }

  #consume(consumed) {
    // The attempts to come back have led somewhere.
    if (consumed > this.consumed) this.#attempts = 0;
    this.consumed = consumed;
    while (this.#inputs.length && this.#inputs[0].number <= consumed) {
      this.#inputBytes -= this.#inputs.shift().bytes.length;
      this.#sent = Math.max(0, this.#sent - 1);
    }
  }

  #runs(version, versionName) {
    this.#names.set(version, versionName);
    [this.version, this.versionName] = [version, versionName];
    this.#emit('version', { version, versionName });
  }

  #pong(ping) {
    if (this.#pingSentAt === undefined || ping !== BigInt(this.#pings)) return;
    this.rtt = performance.now() - this.#pingSentAt;
    this.#pingSentAt = undefined;
    this.#emit('rtt', { rtt: this.rtt });
  }
}

function bytesOf(message) {
  if (typeof message === 'string') return encoder.encode(message);
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message)) return new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
  throw new TypeError('a message is a string, an ArrayBuffer or a view of one');
}

function joinFrame({ room, credentials, hello }) {
  const [roomBytes, credentialBytes] = [encoder.encode(room), encoder.encode(credentials)];
  const frame = new Uint8Array(4 + roomBytes.length + credentialBytes.length + hello.length);
  frame.set([JOIN, roomBytes.length]);
  frame.set(roomBytes, 2);
  frame.set([credentialBytes.length & 0xff, credentialBytes.length >> 8], 2 + roomBytes.length);
  frame.set(credentialBytes, 4 + roomBytes.length);
  frame.set(hello, 4 + roomBytes.length + credentialBytes.length);
  return frame;
}

function resumeFrame(token) {
  return Uint8Array.of(RESUME, ...encoder.encode(token));
}

function messageFrame({ number, bytes }) {
  const frame = new Uint8Array(INPUT_HEADER_BYTES + bytes.length);
  frame[0] = MESSAGE;
  new DataView(frame.buffer).setUint32(1, number, true);
  frame.set(bytes, INPUT_HEADER_BYTES);
  return frame;
}

/** Throws for what can never work. */
function checkOptions(options) {
  const { url, room, credentials, token, WebSocket, inputBytesMax } = options;
  const { protocol, port } = new URL(url);
  if (!['ws:', 'wss:', 'tcp:'].includes(protocol)) throw new TypeError(`'${url}' is no ws:, wss: or tcp: address`);
  if (protocol !== 'tcp:' && !(WebSocket ?? globalThis.WebSocket)) {
    throw new TypeError('there is no WebSocket here: give one as { WebSocket }, connect to tcp://HOST:PORT, or use Node 22 or later');
  }
  if (protocol === 'tcp:' && !(port > 0)) throw new TypeError(`'${url}' names no port: connect to tcp://HOST:PORT`);
  for (const [name, value] of Object.entries(options)) {
    if (typeof DEFAULTS[name] === 'number') checkNumber(name, value);
  }
  // Of a token there may be none.
  for (const [name, value] of Object.entries({ room, credentials, token: token ?? '' })) {
    if (typeof value !== 'string') throw new TypeError(`${name} is a string, not ${value}`);
  }
  if (encoder.encode(room).length > 64) throw new TypeError('the name of a room has at most 64 bytes');
  if (encoder.encode(credentials).length > 8192) throw new TypeError('credentials have at most 8192 bytes');
  if (encoder.encode(token ?? '').length > TOKEN_BYTES_MAX) throw new TypeError(`a token has at most ${TOKEN_BYTES_MAX} bytes`);
  // A Join is a frame like an input's, and not to be longer.
  const beyond = joinFrame(options).length - INPUT_HEADER_BYTES - inputBytesMax;
  if (beyond > 0) throw new TypeError(`room, credentials and hello together are ${beyond} bytes too long (inputBytesMax)`);
}

function checkNumber(name, value) {
  // No timer is set for the others, which may be without a limit.
  const max = ['retryMs', 'retryMsMax', 'pingMs'].includes(name) ? TIMER_MS_MAX : Infinity;
  if (!(typeof value === 'number' && value > 0 && value <= max)) {
    throw new TypeError(`${name} is a number above 0 and at most ${max}, not ${value}`);
  }
}

function openTransport(options, events) {
  return options.url.startsWith('tcp:') ? openTcp(options, events) : openWebSocket(options, events);
}

function openWebSocket({ url, WebSocket = globalThis.WebSocket }, { open, frame, close }) {
  const socket = new WebSocket(url, SUBPROTOCOL);
  socket.binaryType = 'arraybuffer';
  socket.onopen = open;
  socket.onmessage = ({ data }) => frame(typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data));
  socket.onclose = ({ code, reason }) => close(code, reason);
  // What went wrong is in the close event that follows.
  socket.onerror = () => {};
  return {
    // One that is closing already has its close event under way.
    send: (bytes) => socket.readyState === 1 && socket.send(bytes),
    close: () => socket.close(),
  };
}

/** For Node alone: the same frames without a WebSocket around them. */
function openTcp({ url }, { open, frame, close }) {
  const { hostname, port } = new URL(url);
  let socket;
  let closed = false;
  import('node:net').then(({ connect }) => {
    if (closed) return;
    socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), noDelay: true });
    const unframe = tcpFrames(frame);
    let reason = '';
    socket.on('connect', () => { socket.write(TCP_PREAMBLE); open(); });
    socket.on('data', (bytes) => unframe(bytes) || socket.destroy(new Error('a frame above the limit')));
    socket.on('error', (error) => { reason = error.message; });
    socket.on('close', () => close(ABNORMAL, reason));
  }).catch((error) => close(ABNORMAL, error.message));
  return {
    send(bytes) {
      const framed = new Uint8Array(4 + bytes.length);
      new DataView(framed.buffer).setUint32(0, bytes.length, true);
      framed.set(bytes, 4);
      if (socket?.writable) socket.write(framed);
    },
    close() {
      closed = true;
      // What was written last still goes out.
      socket?.destroySoon();
    },
  };
}

/** Takes a stream apart; false once it has a frame that is none. */
function tcpFrames(frame) {
  let chunks = [];
  let held = 0;
  // Nothing is put together before a whole frame, or its length, is here.
  let wanted = 4;
  return (bytes) => {
    chunks.push(bytes);
    held += bytes.length;
    if (held < wanted) return true;
    const all = new Uint8Array(held);
    chunks.reduce((at, chunk) => { all.set(chunk, at); return at + chunk.length; }, 0);
    const view = new DataView(all.buffer);
    let at = 0;
    for (wanted = 4; held - at >= wanted; wanted = 4) {
      wanted = 4 + view.getUint32(at, true);
      if (wanted > TCP_FRAME_BYTES_MAX) return false;
      if (held - at < wanted) break;
      frame(all.slice(at + 4, at + wanted));
      at += wanted;
    }
    chunks = [all.subarray(at)];
    held -= at;
    return true;
  };
}
