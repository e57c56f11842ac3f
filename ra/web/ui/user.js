// The User's side: invitation, consent questions, what the Helper may do now.

import { $, text, phrase, show, on, icon, el, span, addresses, plain } from './dom.js';

const spelling = {
  A: 'Alfa', B: 'Bravo', C: 'Charlie', D: 'Delta', E: 'Echo', F: 'Foxtrot', G: 'Golf', H: 'Hotel', I: 'India',
  J: 'Juliett', K: 'Kilo', L: 'Lima', M: 'Mike', N: 'November', O: 'Oscar', P: 'Papa', Q: 'Quebec', R: 'Romeo',
  S: 'Sierra', T: 'Tango', U: 'Uniform', V: 'Victor', W: 'Whiskey', X: 'X-ray', Y: 'Yankee', Z: 'Zulu',
  0: 'zero', 1: 'one', 2: 'two', 3: 'three', 4: 'four', 5: 'five', 6: 'six', 7: 'seven', 8: 'eight', 9: 'nine',
};

// Shown if a session gives no warning of its own.
const warning = 'Did somebody call you and ask for this, say your bank or a “support” service? Then press No. They never do.';

let asked = 0; // the question on screen

export function start(page) {
  on($('do-no'), 'click', () => page.act({ do: 'answer', question: asked, yes: false }));
  on($('do-yes'), 'click', () => {
    const q = page.view?.question;
    if (q && q.id === asked && mayAgree(page)) page.act({ do: 'answer', question: asked, yes: true });
  });
  on($('do-copy'), 'click', async () => {
    await navigator.clipboard.writeText(page.view.invitation.file);
    text($('do-copy'), 'Copied');
    setTimeout(() => text($('do-copy'), 'Copy path'), 2000);
  });
}

// draw fills the section for the present view and returns its name.
export function draw(page) {
  const v = page.view;
  if (v.question) return question(page);
  asked = 0;
  if (v.state === 'screen' || v.state === 'control') return sharing(v);
  if (v.invitation && !v.peer) return invitation(page);
  text($('start-title'), 'One moment…');
  text($('start-text'), v.peer ? 'Your helper is connecting.' : 'The invitation is being prepared.');
  return 'start';
}

// The password is on screen only until somebody has connected: from then on
// the Helper may be looking at this very page.
function invitation(page) {
  const inv = page.view.invitation;
  text($('file'), inv.file);
  password(inv.password);
  addresses($('candidates'), inv.candidates);
  show($('reach'), inv.candidates?.length > 0);
  tick(page);
  return 'invite';
}

function password(p) {
  if ($('password').dataset.now === p) return;
  $('password').dataset.now = p;
  const groups = p.split('-');
  $('password').replaceChildren(...groups.map((g) => el('span', 'group', g)));
  $('password').setAttribute('aria-label', [...p.replaceAll('-', '')].join(' '));
  $('spelling').replaceChildren(...groups.map((g) => {
    const line = el('span', 'line');
    for (const c of g) {
      const w = el('span', 'letter');
      w.append(el('b', '', c), ' ' + (spelling[c] ?? ''));
      line.append(w);
    }
    return line;
  }));
}

function question(page) {
  const v = page.view;
  const q = v.question;
  const view = q.kind === 'view';
  text($('ask-title'), view ? 'Show your screen?' : q.kind === 'control' ? 'Share control?' : 'A question for you');
  text($('ask-name'), v.peer?.name || 'Somebody');
  text($('ask-address'), v.peer?.address ?? '');
  text($('ask-text'), q.text);
  text($('ask-warning'), q.warning || warning);
  tick(page);
  if (asked !== q.id) {
    asked = q.id;
    page.say(plain(q.text));
    // No is what a stray key presses. Somebody typing is not interrupted.
    if (document.activeElement !== $('chat-text')) requestAnimationFrame(() => $('do-no').focus());
  }
  return 'question';
}

// mayAgree: not before the question may be answered, and not while the
// Helper may move this pointer.
function mayAgree(page) {
  const v = page.view;
  return v.state !== 'control' && page.link.now() >= Date.parse(v.question.enabled);
}

function sharing(v) {
  const control = v.state === 'control';
  icon($('share-icon'), v.paused ? 'hidden' : control ? 'hand' : 'eye');
  text($('share-title'), v.paused ? 'Your screen is hidden' : control ? 'Your computer is shared' : 'Your screen is shared');
  phrase($('share-text'), v.paused ? '{} sees nothing until you press “Show again”.'
    : control ? '{} sees your screen and can use your mouse and keyboard, like you.'
      : '{} sees your screen, but cannot touch anything.', v.peer?.name || 'Your helper');
  text($('share-name'), v.peer?.name ?? '');
  text($('share-address'), v.peer?.address ?? '');
  text($('share-hint'), control && !v.paused ? 'Press Esc at any time to take back control.'
    : 'You can stop at any time. Close what your helper should not see, or press “Pause”.');
  return 'sharing';
}

// tick moves the clocks on the page.
export function tick(page) {
  const v = page.view;
  const now = page.link.now();
  if (v.question) {
    const left = Date.parse(v.question.deadline) - now;
    const wait = Math.ceil((Date.parse(v.question.enabled) - now) / 1000);
    const yes = v.question.kind === 'view' ? 'Yes, show my screen' : v.question.kind === 'control' ? 'Yes, share control' : 'Yes';
    $('do-yes').disabled = !mayAgree(page);
    text($('do-yes'), wait > 0 ? `${yes} (${wait})` : yes);
    text($('ask-left'), left > 0 ? `No answer means No. ${span(left)} left.` : 'No answer: that means No.');
    $('ask-bar').value = Math.max(0, Math.min(1, left / 60000));
  } else if (v.invitation) {
    const left = Date.parse(v.invitation.expires) - now;
    text($('expiry'), left > 0 ? `Valid for ${span(left)}` : 'The invitation has expired.');
    $('expiry-bar').value = Math.max(0, Math.min(1, left / (6 * 3600e3)));
  }
}
