// An engine of the test's own making: it says what the test tells it to, over both transports.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Frames of an engine, as docs/protocol.md lays them out. */
export function header(kind, { tick = 300, consumed = 0 } = {}) {
  const bytes = Buffer.alloc(13);
  bytes[0] = kind;
  bytes.writeBigUInt64LE(BigInt(tick), 1);
  bytes.writeUInt32LE(consumed, 9);
  return bytes;
}

export function joined({ player = 7, resumed = 0, version = 1001, name = 'game1', room = 'main', token = 't', ...head } = {}) {
  const facts = Buffer.alloc(15);
  facts.writeBigUInt64LE(BigInt(player), 0);
  facts[8] = resumed;
  facts.writeUInt16LE(20, 9);
  facts.writeUInt32LE(version, 11);
  const text = (of) => Buffer.concat([Buffer.of(of.length), Buffer.from(of)]);
  return Buffer.concat([header(0x81, head), facts, text(name), text(room), Buffer.from(token)]);
}

export function closing(code, reason = '', head = {}) {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(code);
  return Buffer.concat([header(0x8f, head), bytes, Buffer.from(reason)]);
}

/** A queue that is waited on. */
class Inbox {
  #items = [];
  #waiting = [];
  put(item) {
    const waiting = this.#waiting.shift();
    waiting ? waiting(item) : this.#items.push(item);
  }
  next() {
    return this.#items.length ? Promise.resolve(this.#items.shift()) : new Promise((done) => this.#waiting.push(done));
  }
}

/** One connection of a client. */
class Connection {
  #inbox = new Inbox();
  constructor(socket, overTcp) {
    Object.assign(this, { socket, overTcp });
    this.ended = once(socket, 'close');
    let rest = Buffer.alloc(0);
    this.take = (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let frame; (frame = overTcp ? tcpFrame(rest) : webSocketFrame(rest)); rest = rest.subarray(frame.length)) {
        if (frame.opcode !== 8) this.#inbox.put(frame.bytes.toString('hex'));
        else if (socket.writable) socket.end(Buffer.of(0x88, 0));
      }
    };
  }

  /** The next frame of the client, in hex. */
  next() {
    return this.#inbox.next();
  }

  send(...frames) {
    for (const bytes of frames) this.socket.write(this.overTcp ? lengthBefore(bytes) : asWebSocket(bytes));
  }

  /** Closes a WebSocket with a code, without a Closing before it. */
  closeWith(code) {
    this.socket.end(Buffer.concat([Buffer.of(0x88, 2), Buffer.of(code >> 8, code & 0xff)]));
  }

  cut() {
    this.socket.destroy();
  }
}

function lengthBefore(bytes) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function tcpFrame(all) {
  const length = all.length >= 4 ? 4 + all.readUInt32LE(0) : Infinity;
  return all.length >= length ? { length, bytes: all.subarray(4, length) } : undefined;
}

function asWebSocket(bytes) {
  const head = bytes.length < 126 ? Buffer.of(0x82, bytes.length) : Buffer.of(0x82, 126, bytes.length >> 8, bytes.length & 0xff);
  return Buffer.concat([head, bytes]);
}

function webSocketFrame(all) {
  if (all.length < 2) return undefined;
  const short = all[1] & 0x7f;
  const at = short === 126 ? 4 : 2;
  const size = short === 126 ? all.readUInt16BE(2) : short;
  const length = at + 4 + size;
  if (all.length < length) return undefined;
  const mask = all.subarray(at, at + 4);
  const bytes = Buffer.from(all.subarray(at + 4, length)).map((byte, place) => byte ^ mask[place % 4]);
  return { length, bytes: Buffer.from(bytes), opcode: all[0] & 0x0f };
}

function accept(head) {
  const key = /sec-websocket-key: (.*)\r\n/i.exec(head)[1];
  const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${answer}\r\n`
    + `Sec-WebSocket-Protocol: ${/sec-websocket-protocol: (.*)\r\n/i.exec(head)[1]}\r\n\r\n`;
}

export class FakeEngine {
  #inbox = new Inbox();
  #server = createServer((socket) => this.#greet(socket));

  static async listen() {
    const fake = new FakeEngine();
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  #greet(socket) {
    socket.on('error', () => {});
    let head = Buffer.alloc(0);
    const listen = (bytes) => {
      head = Buffer.concat([head, bytes]);
      const overTcp = head.length && head[0] === 0;
      const end = overTcp ? 4 : head.indexOf('\r\n\r\n') + 4;
      if (head.length < end || (!overTcp && end === 3)) return;
      if (!overTcp) socket.write(accept(head.toString()));
      const connection = new Connection(socket, overTcp);
      connection.head = head.subarray(0, end);
      connection.take(head.subarray(end));
      socket.off('data', listen).on('data', connection.take);
      this.#inbox.put(connection);
    };
    socket.on('data', listen);
  }

  get port() {
    return this.#server.address().port;
  }

  url(transport) {
    return transport === 'tcp' ? `tcp://127.0.0.1:${this.port}` : `ws://127.0.0.1:${this.port}/ws`;
  }

  /** The next connection. */
  next() {
    return this.#inbox.next();
  }

  close() {
    this.#server.close();
  }
}
