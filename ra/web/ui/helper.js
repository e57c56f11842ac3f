// The Helper's side: dialling, waiting for consent, the shared screen.

import { $, text, phrase, show, on, addresses } from './dom.js';

let rfb = null;
let wanted = false;
let RFB = null;
let tries = 0;

export function start(page, talk) {
  on($('do-talk'), 'click', () => talk.toggle());
  // Inside the picture every key belongs to the other computer, Tab included.
  // This one leads out again.
  window.addEventListener('keydown', (e) => {
    if (!e.isTrusted || !e.ctrlKey || !e.altKey || e.code !== 'KeyC' || page.view?.role !== 'helper') return;
    e.preventDefault();
    e.stopImmediatePropagation();
    talk.toggle(true);
    $('chat-text').focus();
  }, true);
  // noVNC lifts held keys when the window loses the focus, but not when only
  // the picture does.
  $('screen').addEventListener('focusout', () => window.dispatchEvent(new Event('blur')));
}

// draw fills the section for the present view and returns its name.
export function draw(page) {
  const v = page.view;
  if (v.state === 'opening') {
    addresses($('dialing'), v.dialing);
    return 'dial';
  }
  if (v.state === 'waiting') {
    text($('consent-name'), v.peer?.name || 'The other person');
    return 'consent';
  }
  return 'screen';
}

// screen opens or closes the viewer. Input leaves it only while control is
// granted; the other computer enforces the same by itself.
export async function screen(page, visible) {
  wanted = visible;
  if (!visible) {
    close();
    return;
  }
  const v = page.view;
  const may = v.state === 'control' && !v.paused;
  if (rfb && rfb.viewOnly === may) {
    rfb.viewOnly = !may;
    if (may && document.activeElement !== $('chat-text')) rfb.focus();
  }
  if (v.paused) veil('{} has paused. The screen is hidden.', v.peer?.name || 'The other person', true);
  else veil($('screen').dataset.ready ? '' : 'Fetching the picture…');
  if (!rfb) await open(page);
}

async function open(page) {
  RFB ??= (await import('/novnc/core/rfb.js')).default;
  if (rfb || !wanted) return;
  rfb = new RFB($('screen'), `ws://${location.host}/rfb`, { wsProtocols: page.link.protocols });
  const mine = rfb;
  const may = page.view.state === 'control' && !page.view.paused;
  rfb.viewOnly = !may;
  rfb.scaleViewport = true;
  rfb.focusOnClick = true;
  rfb.background = 'transparent';
  rfb.addEventListener('connect', () => {
    tries = 0;
    $('screen').dataset.ready = 'yes';
    if (!page.view.paused) veil('');
  });
  rfb.addEventListener('disconnect', () => {
    if (rfb !== mine) return;
    rfb = null;
    delete $('screen').dataset.ready;
    if (!wanted) return;
    veil('The picture was lost. Trying again…');
    setTimeout(() => { if (wanted && !rfb) open(page); }, Math.min(500 * 2 ** tries++, 8000));
  });
}

function close() {
  if (!rfb) return;
  const r = rfb;
  rfb = null;
  delete $('screen').dataset.ready;
  r.disconnect();
}

// veil covers the picture with words, or uncovers it.
function veil(s, name, calm = false) {
  show($('veil'), s !== '');
  if (name) phrase($('veil-text'), s, name);
  else text($('veil-text'), s);
  show($('veil').firstElementChild, !calm);
}
