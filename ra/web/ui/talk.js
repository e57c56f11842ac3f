// Chat and the live log, for both roles.

import { $, text, show, on, el } from './dom.js';

const most = 500; // lines kept on the page; the log file has them all
const time = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });

export class Talk {
  #drawn = []; // the entries on the page, as JSON
  #open = true;
  #unread = 0;

  constructor(page) {
    this.page = page;
    on($('chat'), 'submit', (e) => {
      e.preventDefault();
      this.#send();
    });
    on($('chat-text'), 'keydown', (e) => {
      if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return;
      e.preventDefault();
      this.#send();
    });
    on($('chat-text'), 'input', () => this.#fit());
  }

  // toggle hides the panel to give the picture room.
  toggle(open = !this.#open) {
    this.#open = open;
    this.#unread = 0;
    document.body.dataset.talk = open ? 'open' : 'closed';
    $('do-talk').setAttribute('aria-expanded', String(open));
    this.draw(this.page.view);
  }

  draw(v) {
    const live = v.state !== 'ended' && Boolean(v.peer);
    show($('talk'), this.#open);
    show($('do-talk'), v.role === 'helper' && (v.state === 'screen' || v.state === 'control'));
    if (v.role !== 'helper' || (v.state !== 'screen' && v.state !== 'control')) {
      this.#open = true;
      show($('talk'), true);
    }
    show($('chat'), live);
    show($('talk-hint'), v.role === 'helper' && v.state === 'control');
    this.#entries(v);
    show($('unread'), this.#unread > 0);
    text($('unread'), String(Math.min(this.#unread, 99)));
  }

  // entries adds what is new. A log that does not continue the one on the page
  // (its oldest lines were dropped, or shipworm was started anew) is drawn
  // afresh.
  #entries(v) {
    const log = (v.log ?? []).slice(-most);
    const want = log.map((e) => JSON.stringify(e));
    const list = $('log');
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const continues = this.#drawn.length <= want.length && this.#drawn.every((s, i) => s === want[i]);
    if (!continues) list.replaceChildren();
    const from = continues ? this.#drawn.length : 0;
    let mine = false;
    for (const e of log.slice(from)) {
      list.append(this.#entry(e, v));
      mine ||= e.from === v.role;
      if (!this.#open && e.event === 'CHAT_MESSAGE') this.#unread++;
    }
    this.#drawn = want;
    show($('log-empty'), want.length === 0);
    if (want.length > from && (atEnd || mine)) list.scrollTop = list.scrollHeight;
  }

  #entry(e, v) {
    const chat = e.event === 'CHAT_MESSAGE';
    const own = e.from === v.role;
    const li = el('li', chat ? (own ? 'said own' : 'said') : 'event');
    li.dataset.event = e.event;
    if (chat) {
      const who = el('span', 'by');
      who.append(el('bdi', '', own ? 'You' : v.peer?.name || (v.role === 'user' ? 'Helper' : 'User')));
      li.append(who);
    }
    const body = el('span', 'text', e.text || e.event.toLowerCase().replaceAll('_', ' '));
    body.dir = 'auto';
    const when = el('time', '', time.format(new Date(e.time)));
    when.dateTime = String(e.time);
    li.append(body, when);
    return li;
  }

  async #send() {
    const field = $('chat-text');
    const message = field.value.trim();
    if (!message || $('do-send').disabled) return;
    $('do-send').disabled = true;
    const sent = await this.page.act({ do: 'chat', text: message });
    $('do-send').disabled = false;
    if (sent && field.value.trim() === message) {
      field.value = '';
      this.#fit();
    }
  }

  // fit grows the field with what is typed, up to the limit of the style.
  #fit() {
    const field = $('chat-text');
    field.style.height = 'auto';
    field.style.height = field.scrollHeight + 2 + 'px';
  }
}
