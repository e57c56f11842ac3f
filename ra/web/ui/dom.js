// Helpers for the page. Everything that came from a peer goes through text():
// it becomes a text node and nothing else.

export const $ = (id) => document.getElementById(id);

// Control, bidirectional and zero-width characters. The session has removed
// them already; a page that trusted that would show what a bug lets through.
const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;
const longest = 4096;

export function plain(s) {
  return String(s ?? '').slice(0, longest).replace(unseen, '\ufffd');
}

// text sets the content of a node, and leaves it alone if nothing changed, so
// that screen readers announce changes only.
export function text(node, s) {
  const t = plain(s);
  if (node.textContent !== t) node.textContent = t;
}

// phrase is text() with a peer's name at the place of {}, kept apart so that
// a name written from right to left does not turn the words around it.
export function phrase(node, s, name) {
  const [before, after] = s.split('{}');
  const n = plain(name);
  if (node.textContent === before + n + after) return;
  node.replaceChildren(before, el('bdi', '', n), after);
}

export function el(tag, className, s) {
  const n = document.createElement(tag);
  if (className) n.className = className;
  if (s !== undefined) n.textContent = plain(s);
  return n;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export function icon(use, name) {
  const href = '/ui/icons.svg#' + name;
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

// on listens for what a person does. Events that a script made (an extension,
// a bookmarklet) are ignored: isTrusted is false for those. Input that another
// program injects into the desktop is trusted to a browser and is not stopped
// here but by the session, which asks nothing while control is shared.
export function on(node, type, f) {
  node.addEventListener(type, (e) => {
    if (e.isTrusted) f(e);
    else e.preventDefault();
  });
}

// span says a length of time in words, coarser the longer it is.
export function span(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  if (s < 90) return s + ' s';
  const m = Math.ceil(s / 60);
  if (m < 90) return m + ' min';
  const h = Math.floor(m / 60);
  return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
}

export const kinds = { teredo: 'Internet, through the router', ipv6: 'Internet, IPv6', lan: 'Same local network' };

// addresses fills a list with the candidates of an invitation.
export function addresses(list, candidates) {
  const want = JSON.stringify(candidates ?? []);
  if (list.dataset.now === want) return;
  list.dataset.now = want;
  list.replaceChildren(...(candidates ?? []).map((c) => {
    const li = el('li');
    li.append(el('span', 'kind', kinds[c.kind] ?? c.kind), el('code', '', c.address));
    return li;
  }));
}
