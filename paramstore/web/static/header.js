// The header and the banners below it: where we are, whether it is live, and what is wrong.

import { html, nothing } from 'lit-html';
import * as words from 'app/words';
import { frozenAll, state } from 'app/state';
import { revisionHref } from 'app/parts';
import { offered, showKeys } from 'app/keys';

const LINKS = [
  ['', 'Overview', 'o'],
  ['learners', 'Learners', 'l'],
  ['scorecard', 'Scorecard', 's'],
  ['compare', 'Compare', 'c'],
  ['history', 'History', 'h'],
];
const WITHIN = { parameter: '', revision: 'history', learner: 'learners' }; // which link a page belongs to

export function header(context, route, live) {
  const here = WITHIN[route.name] ?? route.name;
  const { health } = state;
  return html`<div class="bar">
    <a class="brand" href="#/" title=${health?.store ?? 'paramstore'}>${storeName(health)}</a>
    <nav aria-label="Pages">
      ${LINKS.filter(([name]) => offered(name)).map(
        ([name, word]) => html`<a href="#/${name}" aria-current=${here === name ? 'page' : nothing}>${word}</a>`,
      )}
    </nav>
    <div class="status">
      ${frozenAll()
        ? html`<a class="stop" href="#/?frozen=1">All frozen</a>`
        : context.act.offer(
            html`<button class="switch" title="Stop every learner (g f)" @click=${() => context.act.freeze({ pattern: '*' })}>Freeze all…</button>`,
          )}
      ${health
        ? html`<a class="num" href=${revisionHref(health.revision)} title="The revision that stands"
            ><span class="unit">rev</span> ${health.revision}</a
          >`
        : nothing}
      ${liveState(context, live)}
      <button class="plain-button" @click=${() => turnTheme(context)} title="Light, dark, or as the system has it" aria-label=${`Colours: ${theme()}`}>
        ${theme()}
      </button>
      <button class="plain-button" @click=${showKeys} aria-label="Keys and words" title="Keys and words (?)">?</button>
    </div>
  </div>`;
}

/** The last part of the store's path: the whole of it is in the title. */
const storeName = (health) =>
  (health?.store ?? '').split(/[\\/]/).filter(Boolean).pop() || 'paramstore';

function liveState(context, live) {
  if (context.embedded) {
    const { made } = state.health ?? {};
    return html`<span class="dim">report${made ? html` of ${words.time(made)}` : nothing}</span>`;
  }
  if (live.on) {
    return html`<span class="live on" title="Connected since ${words.local(live.since / 1000)}">live</span>`;
  }
  if (!state.health) return nothing; // nothing has been read yet, so nothing is lost
  const since = words.span((Date.now() - live.since) / 1000);
  return html`<span class="live off" title=${live.problem?.detail ?? ''}>reconnecting, ${since}</span>`;
}

// --- light and dark ----------------------------------------------------------------------------------

const THEME = 'paramstore-theme';
const THEMES = ['auto', 'light', 'dark'];
const stored = () => {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // storage is switched off, or this is a file
  }
};
let chosen = THEMES.includes(stored()) ? stored() : 'auto';
const theme = () => chosen;

function apply() {
  document.documentElement.dataset.theme = chosen;
  dispatchEvent(new Event('themechange')); // plots are painted, and have to be painted anew
}

function turnTheme(context) {
  chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
  try {
    localStorage.setItem(THEME, chosen);
  } catch {
    // Then it holds until the page is left.
  }
  apply();
  context.rerender();
}

apply();

// --- banners -------------------------------------------------------------------------------------------

export function banners(context, live) {
  const { health, freezes } = state;
  return html`
    ${away(context, live)}
    ${(health?.problems ?? []).map((p) => banner('bad', 'Readers refuse a file', problemText(p), p.since))}
    ${freezes.map((f) => freezeBanner(context, f))}
    ${(health?.warnings ?? []).map((text) => banner('warn', 'Warning', text))}
    ${state.doctorProblem ? banner('warn', 'The doctor gives no answer', state.doctorProblem.detail) : nothing}
  `;
}

function away(context, live) {
  // A short absence is said in the header alone; a long one makes what is shown doubtful.
  if (context.embedded || live.on || Date.now() - live.since < 5000 || !state.health) return nothing;
  return banner(
    'warn',
    'Not live',
    `${live.problem?.detail ?? 'The connection is gone.'} What is shown is as of ${words.local(live.since / 1000)}.`,
  );
}

const problemText = ({ file, message }) => (message.includes(file) ? message : `${file}: ${message}`);

const banner = (level, title, text, since) =>
  html`<section class="banner ${level}" aria-label=${title}>
    <strong>${title}${since ? html` since ${words.time(since)}` : nothing}</strong>
    <span class="pre">${text}</span>
  </section>`;

const freezeBanner = (context, freeze) =>
  html`<section class="banner ${freeze.pattern === '*' ? 'stopped' : 'held'}" aria-label="Frozen">
    <strong>${freeze.pattern === '*' ? 'Everything is frozen' : html`Frozen: <code>${freeze.pattern}</code>`}</strong>
    <span
      >by ${freeze.author}, ${words.ago(freeze.since)}${freeze.until
        ? html`, until ${words.time(freeze.until)}`
        : nothing}:
      ${freeze.reason}</span
    >
    ${context.act.offer(
      html`<button @click=${() => context.act.unfreeze({ pattern: freeze.pattern })}>Unfreeze…</button>`,
    )}
  </section>`;
