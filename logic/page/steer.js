// Where the player wants to go: mouse, finger or keys.

const KEYS = new Map([
  ['KeyW', [0, -1]], ['ArrowUp', [0, -1]], ['KeyS', [0, 1]], ['ArrowDown', [0, 1]],
  ['KeyA', [-1, 0]], ['ArrowLeft', [-1, 0]], ['KeyD', [1, 0]], ['ArrowRight', [1, 0]],
]);
/** So far from the avatar the mouse, and from its start a finger, means full speed: pixels. */
const MOUSE_REACH = 150;
const STICK_REACH = 60;
/** Nearer than this is no direction. */
const DEAD = 8;

export class Steering {
  /** The finger's stick while there is one: where it began and where it is, in pixels. */
  stick;
  #keys = new Set();
  #mouse;

  constructor(canvas) {
    canvas.addEventListener('pointerdown', (event) => this.#down(canvas, event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    document.addEventListener('mouseleave', () => { this.#mouse = undefined; });
    addEventListener('keydown', (event) => this.#key(event, true));
    addEventListener('keyup', (event) => this.#key(event, false));
    // Keys that are let go elsewhere are never heard of here.
    addEventListener('blur', () => this.release());
  }

  release() {
    this.#keys.clear();
    this.#mouse = undefined;
    this.stick = undefined;
  }

  /** Where to, at most 1 long, for an avatar that is drawn at this place: keys before finger before mouse. */
  direction(at) {
    if (this.#keys.size) {
      const [x, y] = [...this.#keys].map((code) => KEYS.get(code)).reduce(([x, y], [dx, dy]) => [x + dx, y + dy], [0, 0]);
      return bounded(x, y, 1);
    }
    if (this.stick) return bounded(this.stick.x - this.stick.fromX, this.stick.y - this.stick.fromY, STICK_REACH);
    if (this.#mouse && at) return bounded(this.#mouse.x - at.x, this.#mouse.y - at.y, MOUSE_REACH);
    return [0, 0];
  }

  #down(canvas, event) {
    if (event.pointerType === 'mouse') {
      this.#mouse = { x: event.clientX, y: event.clientY };
      return;
    }
    canvas.setPointerCapture(event.pointerId);
    this.stick = { id: event.pointerId, fromX: event.clientX, fromY: event.clientY, x: event.clientX, y: event.clientY };
  }

  #move(event) {
    if (event.pointerType === 'mouse') {
      this.#mouse = { x: event.clientX, y: event.clientY };
    } else if (this.stick?.id === event.pointerId) {
      Object.assign(this.stick, { x: event.clientX, y: event.clientY });
      // The stick comes along, so that turning back never takes a long way.
      const [dx, dy] = [this.stick.x - this.stick.fromX, this.stick.y - this.stick.fromY];
      const beyond = Math.hypot(dx, dy) - STICK_REACH;
      if (beyond > 0) {
        this.stick.fromX += dx / Math.hypot(dx, dy) * beyond;
        this.stick.fromY += dy / Math.hypot(dx, dy) * beyond;
      }
    }
  }

  #up(event) {
    if (this.stick?.id === event.pointerId) this.stick = undefined;
  }

  #key(event, down) {
    if (!KEYS.has(event.code) || event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    if (down) this.#keys.add(event.code);
    else this.#keys.delete(event.code);
    // Whoever plays by keys is not pulled aside by a mouse that lies about.
    this.#mouse = undefined;
  }
}

function bounded(x, y, reach) {
  const length = Math.hypot(x, y);
  if (length === 0 || (reach > 1 && length < DEAD)) return [0, 0];
  const strength = Math.min(1, length / reach);
  return [x / length * strength, y / length * strength];
}
