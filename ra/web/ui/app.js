// The page of both roles. It keeps no state of its own besides what is being
// typed: every view from the server is drawn whole.

import { $, text, show, on, icon, plain } from './dom.js';
import { Link } from './link.js';
import { Talk } from './talk.js';
import * as user from './user.js';
import * as helper from './helper.js';

const sections = ['start', 'invite', 'question', 'sharing', 'dial', 'consent', 'screen', 'ended'];
const link = new Link(draw, connection);
const page = { link, act, say, view: null };
const talk = new Talk(page);

// Words for the indicator that is always in sight.
const words = {
  user: { waiting: 'Waiting for connect', screen: 'Screen sharing', control: 'Control sharing' },
  helper: { opening: 'Opening', waiting: 'Waiting for consent', screen: 'Screen sharing', control: 'Control sharing' },
};

function draw(view) {
  page.view = view;
  link.over = view.state === 'ended';
  const { role, state } = view;
  document.body.dataset.role = role;
  document.body.dataset.state = view.paused ? 'paused' : state;
  document.body.dataset.asked = view.question ? 'yes' : 'no';

  const name = state === 'ended' ? 'Ended' : state === 'waiting' && view.question ? 'Waiting for your answer' : (words[role]?.[state] ?? state);
  text($('state-text'), view.paused && state !== 'ended' ? name + ', paused' : name);
  document.title = (view.question ? 'Question: ' : '') + name + ' · Shipworm';

  const section = state === 'ended' ? ended(view) : role === 'user' ? user.draw(page) : helper.draw(page);
  for (const s of sections) show($('v-' + s), s === section);
  if (role === 'helper') helper.screen(page, section === 'screen');
  buttons(view);
  talk.draw(view);
}

function buttons(v) {
  const live = v.state === 'screen' || v.state === 'control';
  const isUser = v.role === 'user';
  show($('do-pause'), isUser && live);
  text($('do-pause').lastElementChild, v.paused ? 'Show again' : 'Pause');
  icon($('do-pause').querySelector('use'), v.paused ? 'play' : 'pause');
  show($('do-request'), !isUser && v.state === 'screen');
  $('do-request').disabled = v.requested || v.paused;
  text($('do-request').lastElementChild, v.requested ? 'Asked, waiting…' : 'Request control');
  show($('do-release'), v.state === 'control');
  text($('do-release').lastElementChild, isUser ? 'Take back control' : 'Give up control');
  show($('do-stop'), v.state !== 'ended');
  text($('do-stop').lastElementChild, !isUser ? 'Disconnect' : live ? 'Stop sharing' : 'Cancel invitation');
  show($('do-full'), !isUser && live && document.fullscreenEnabled);
}

function ended(v) {
  const clean = v.end?.clean ?? true;
  icon($('end-icon'), clean ? 'done' : 'fail');
  $('v-ended').classList.toggle('failed', !clean);
  text($('end-title'), clean ? 'The session has ended' : v.peer ? 'The session ended unexpectedly' : 'The session did not start');
  text($('end-text'), v.end?.reason ?? '');
  return 'ended';
}

// connection says how the page stands with shipworm on this computer.
function connection(state) {
  document.body.dataset.link = state;
  show($('notice'), state === 'lost' && page.view !== null);
  if (state === 'open') return;
  if (state === 'lost' && page.view) {
    text($('notice'), 'This page has lost shipworm on this computer: it was closed, or is busy. Trying again…');
    return;
  }
  page.view = null;
  helper.screen(page, false);
  document.body.dataset.state = '';
  document.body.dataset.asked = 'no';
  text($('state-text'), 'Not connected');
  for (const s of sections) show($('v-' + s), s === 'start');
  for (const b of document.querySelectorAll('.actions button')) show(b, false);
  show($('talk'), false);
  document.querySelector('#v-start .spinner').hidden = state === 'locked';
  if (state === 'locked') {
    text($('start-title'), 'This link is used up');
    text($('start-text'), 'A link opens the page once, within 30 seconds, so that nobody else can use it. ' +
      'For a new one, type /url in the window where shipworm runs.');
  } else {
    text($('start-title'), 'Looking for shipworm…');
    text($('start-text'), 'The program that this page belongs to does not answer.');
  }
}

// act sends a command and shows why it was refused, if it was.
async function act(command) {
  try {
    await link.send(command);
    return true;
  } catch (err) {
    show($('notice'), true);
    text($('notice'), 'That did not work: ' + plain(err.message) + '.');
    setTimeout(() => { if (document.body.dataset.link === 'open') show($('notice'), false); }, 6000);
    return false;
  }
}

function say(s) { text($('say'), s); }

on($('do-pause'), 'click', () => act({ do: 'pause', paused: !page.view.paused }));
on($('do-request'), 'click', () => act({ do: 'request' }));
on($('do-release'), 'click', () => act({ do: 'release' }));
on($('do-stop'), 'click', () => act({ do: 'stop' }));
on($('do-full'), 'click', () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen();
});
user.start(page);
helper.start(page, talk);
setInterval(() => { if (page.view?.role === 'user') user.tick(page); }, 200);
link.login();
