// Keys for those who do not reach for the mouse. No key does anything but go somewhere or open something.

import { html, render } from 'lit-html';
import { embedded } from 'app/api';
import { state } from 'app/state';
import { MEANINGS } from 'app/words';

const GO = { o: '#/', l: '#/learners', s: '#/scorecard', c: '#/compare', h: '#/history' };

/** Whether a page has something to show: a report compares nothing, and judges nothing without outcomes. */
export const offered = (name) => !embedded || (name === 'scorecard' ? Boolean(state.health?.scorecard) : name !== 'compare');

const WAIT_MS = 1500; // between `g` and the letter after it

const KEYS = [
  ['/', 'search'],
  ['j  k  ↓  ↑', 'next and previous row'],
  ['Enter', 'open the row'],
  ['g o', 'overview'],
  ['g l', 'learners'],
  ['g s', 'scorecard'],
  ['g c', 'compare'],
  ['g h', 'history'],
  ['g f', 'freeze everything: opens the switch, which asks for a reason first'],
  ['Esc', 'leave a field, close a dialog'],
  ['?', 'these keys, and what some words mean'],
];

let waiting = 0; // until when a letter after `g` counts

export function listen(context, page) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector('dialog[open]')) return; // a dialog has the keyboard for itself
    if (typing(event.target, event.key)) {
      if (event.key === 'Escape') event.target.blur();
      return;
    }
    if (pressed(event.key, context, page)) event.preventDefault();
  });
}

/** Whether a key belongs to the field that has the focus: all do in a text field, letters in a list; none in a box to tick. */
function typing(element, key) {
  if (element.closest?.('select')) return !['/', '?'].includes(key);
  return element.closest?.('input:not([type=checkbox], [type=radio]), textarea, [contenteditable]');
}

function pressed(key, context, page) {
  if (Date.now() < waiting) {
    waiting = 0;
    return after(key, context);
  }
  if (key === 'g') waiting = Date.now() + WAIT_MS;
  else if (key === '?') showKeys();
  else if (key === '/') return focusSearch(context);
  else if (key === 'j') return step(1, page());
  else if (key === 'k') return step(-1, page());
  else if (key === 'ArrowDown' && inRows()) return step(1, page());
  else if (key === 'ArrowUp' && inRows()) return step(-1, page());
  else return false;
  return true;
}

function after(key, context) {
  if (key === 'f') {
    context.act.freeze({ pattern: '*' });
    return true;
  }
  if (!Object.hasOwn(GO, key) || !offered(GO[key].slice(2))) return false;
  context.navigate(GO[key]);
  return true;
}

function focusSearch(context) {
  const field = document.querySelector('main input[type=search]');
  if (field) field.select();
  else context.navigate('#/?find=1');
  return true;
}

// --- rows ---------------------------------------------------------------------------------------------

// Any page marks the main link of a row with data-row: it is the one tab stop of its row.
const rows = () => [...document.querySelectorAll('main [data-row]')].filter((row) => row.offsetParent);
const inRows = () => document.activeElement?.matches('[data-row]');

function step(by, page) {
  if (page?.step?.(by)) return true; // a windowed table knows rows that are not drawn
  const all = rows();
  if (!all.length) return false;
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
  return true;
}

// --- the list of keys -----------------------------------------------------------------------------------

export function showKeys() {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-label', 'Keys and words');
  render(
    html`<form method="dialog">
      <h2>Keys</h2>
      <dl class="keys">
        ${KEYS.filter(([key]) => offered({ 'g s': 'scorecard', 'g c': 'compare' }[key])).map(([key, what]) => html`<div><dt>${key.split('  ').map((k) => html`<kbd>${k}</kbd> `)}</dt><dd>${what}</dd></div>`)}
      </dl>
      <h2>Words</h2>
      <dl class="meanings">${Object.entries(MEANINGS).map(([word, what]) => html`<dt>${word}</dt><dd>${what}</dd>`)}</dl>
      <p class="buttons"><button autofocus>Close</button></p>
    </form>`,
    dialog,
  );
  dialog.addEventListener('close', () => dialog.remove());
  document.getElementById('dialogs').append(dialog);
  dialog.showModal();
}
