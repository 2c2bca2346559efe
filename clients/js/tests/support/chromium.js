// A headless Chromium, driven over its debugging pipe (https://chromedevtools.github.io/devtools-protocol/): no package is needed.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--remote-debugging-pipe',
  // Two pages are played at once; neither may sleep for being behind the other.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
];

/** The path of a Chromium, if one is installed. */
export function findChromium() {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

export class Chromium {
  #process;
  #profile = mkdtempSync(join(tmpdir(), 'hotseat-chromium-'));
  #last = 0;
  #waiting = new Map();
  #pages = new Map();

  /** Under each of the `names` it finds this machine. */
  constructor(path, names = []) {
    const rules = names.map((name) => `MAP ${name} 127.0.0.1`).join(',');
    this.#process = spawn(path, [...FLAGS, `--host-resolver-rules=${rules}`, `--user-data-dir=${this.#profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.ended = once(this.#process, 'exit');
    let rest = '';
    this.#process.stdio[4].setEncoding('utf8').on('data', (text) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      for (const message of messages) this.#take(JSON.parse(message));
    });
  }

  /** Opens a page; `size` is that of its window. */
  async open(url, { width = 1000, height = 700, ratio = 1, touch = false, reducedMotion = false } = {}) {
    // A context of its own: no storage is shared, as with two people.
    const { browserContextId } = await this.call('Target.createBrowserContext');
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page((method, parameters) => this.call(method, parameters, sessionId));
    this.#pages.set(sessionId, page);
    await page.call('Runtime.enable');
    await page.call('Log.enable');
    await page.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: ratio, mobile: touch });
    await page.call('Emulation.setFocusEmulationEnabled', { enabled: true });
    if (touch) await page.call('Emulation.setTouchEmulationEnabled', { enabled: true });
    if (reducedMotion) await page.call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-reduced-motion', value: 'reduce' }] });
    await page.call('Page.enable');
    await page.go(url);
    return page;
  }

  call(method, params = {}, sessionId = undefined) {
    this.#last += 1;
    this.#process.stdio[3].write(`${JSON.stringify({ id: this.#last, method, params, sessionId })}\0`);
    return new Promise((done, failed) => this.#waiting.set(this.#last, { done, failed, method }));
  }

  #take(message) {
    if (message.id) {
      const { done, failed, method } = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) failed(new Error(`${method}: ${message.error.message}`));
      else done(message.result);
    } else {
      this.#pages.get(message.sessionId)?.take(message);
    }
  }

  async close() {
    this.call('Browser.close').catch(() => {});
    await this.ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  /** What went wrong in the page: exceptions, refused resources, errors on the console. */
  faults = [];
  #loaded = [];

  constructor(call) {
    this.call = call;
  }

  take({ method, params }) {
    if (method === 'Page.loadEventFired') this.#loaded.splice(0).forEach((done) => done());
    if (method === 'Runtime.exceptionThrown') this.faults.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.faults.push(params.entry.text);
    if (method === 'Runtime.consoleAPICalled' && params.type === 'error') this.faults.push(JSON.stringify(params.args));
  }

  async go(url) {
    const loaded = new Promise((done) => this.#loaded.push(done));
    await this.call('Page.navigate', { url });
    await loaded;
  }

  async reload() {
    const loaded = new Promise((done) => this.#loaded.push(done));
    await this.call('Page.reload');
    await loaded;
  }

  /** The value of an expression in the page. */
  async value(expression) {
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Waits, frame by frame, until an expression is true in the page; gives its value. */
  async until(expression, patienceMs = 60_000) {
    const watch = `new Promise((done, failed) => {
      const end = performance.now() + ${patienceMs};
      (function look() {
        const found = ${expression};
        if (found) done(found);
        else if (performance.now() > end) failed(new Error('waited in vain'));
        else requestAnimationFrame(look);
      })();
    })`;
    try {
      return await this.value(watch);
    } catch (error) {
      throw new Error(`${expression}: ${error.message}; faults of the page: ${this.faults.join('; ') || 'none'}`);
    }
  }

  mouse(x, y) {
    return this.call('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
  }

  touch(type, points) {
    return this.call('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y]) => ({ x, y })) });
  }

  key(type, code) {
    return this.call('Input.dispatchKeyEvent', { type, code, key: code });
  }

  async screenshot() {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }
}
