// The connection to shipworm on this computer: login with the code in the URL,
// then one WebSocket that brings views and takes commands.

const stored = 'shipworm.key';

async function post(path, body) {
  const res = await fetch(path, { method: 'POST', body: JSON.stringify(body) });
  return res;
}

export class Link {
  #ws = null;
  #next = 1;
  #waiting = new Map();
  #skew = 0;
  #tries = 0;

  // onView gets every view; onState gets 'open', 'lost' or 'locked'.
  constructor(onView, onState) {
    this.onView = onView;
    this.onState = onState;
    this.over = false; // the session has ended: a lost connection is no news
  }

  get key() { return sessionStorage.getItem(stored) ?? ''; }
  get protocols() { return ['shipworm', 'key.' + this.key]; }

  // now is the clock of shipworm, by which all deadlines are given.
  now() { return Date.now() + this.#skew; }

  // login exchanges the code of the URL, which must not stay in the address
  // bar or the history, for the key of this page.
  async login() {
    const code = location.hash.slice(1);
    if (code) {
      history.replaceState(null, '', '/');
      try {
        const res = await post('/login', { code });
        if (res.ok) sessionStorage.setItem(stored, (await res.json()).key);
      } catch { /* the server is gone; connect() will say so */ }
    }
    this.connect();
  }

  connect() {
    if (!this.key) {
      this.onState('locked');
      return;
    }
    const ws = new WebSocket(`ws://${location.host}/events`, this.protocols);
    this.#ws = ws;
    ws.onopen = () => {
      this.#tries = 0;
      this.onState('open');
    };
    ws.onmessage = (e) => this.#receive(JSON.parse(e.data));
    ws.onclose = () => this.#closed();
  }

  #receive(m) {
    if (m.type === 'view') {
      this.#skew = Date.parse(m.now) - Date.now();
      this.onView(m.view);
      return;
    }
    const done = this.#waiting.get(m.id);
    this.#waiting.delete(m.id);
    if (!done) return;
    if (m.error) done.reject(new Error(m.error));
    else done.resolve();
  }

  async #closed() {
    for (const w of this.#waiting.values()) w.reject(new Error('not connected'));
    this.#waiting.clear();
    if (this.over) return;
    // A WebSocket does not tell why it was refused; /resume does.
    try {
      const res = await post('/resume', { key: this.key });
      if (res.status === 403) {
        sessionStorage.removeItem(stored);
        this.onState('locked');
        return;
      }
    } catch { /* nobody listens */ }
    this.onState('lost');
    setTimeout(() => this.connect(), Math.min(500 * 2 ** this.#tries++, 8000));
  }

  // send resolves when the session took the command, and rejects with its
  // reason otherwise.
  send(command) {
    return new Promise((resolve, reject) => {
      if (this.#ws?.readyState !== WebSocket.OPEN) {
        reject(new Error('not connected'));
        return;
      }
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#ws.send(JSON.stringify({ id, ...command }));
    });
  }
}
