// What a dialog shows after its form: what would be done, what has changed meanwhile, what was done.

import { html, nothing } from 'lit-html';
import * as api from 'app/api';
import * as words from 'app/words';
import { state, typeOf } from 'app/state';
import { changesTable, revisionLink, valueCell } from 'app/parts';

const MOST_KEYS = 200;
const MOST_TOGETHER = 60; // values of a group that a form can still be read with

/** What a person may pass with a reason; types, bounds and rules over several values hold for everyone. */
const PASSABLE = ['max_step', 'max_step_relative', 'max_drift', 'cooldown_s', 'owner', 'learnable', 'min_samples', 'evidence', 'freeze'];

// --- what it would do ---------------------------------------------------------------------------------

/** `turn(force)` asks again with the limits of learners passed; null where there is nothing to pass.
 * `together(keys)` adds values to the form; null where it cannot take more. */
export function previewView(kind, preview, force, turn, unforced, together) {
  return html`<section aria-label="What it would do">
    <h3>What it would do</h3>
    ${effects(kind, preview)} ${violations(preview, together)} ${turn ? forcing(preview, force, turn, unforced) : nothing}
  </section>`;
}

function effects(kind, preview, done = false, name = 'Changes') {
  const { changes = [], left = [], kept = [], freezes = [], baselines = [], summary } = preview;
  const refused = Boolean(preview.detail);
  const moves = ['set', 'rollback'].includes(kind);
  return html`
    ${summary && !refused && !moves ? html`<p class="pre">${summary}</p>` : nothing}
    ${changes.length
      ? changesTable(changes, name, { links: done })
      : moves && !refused
        ? html`<p class="told">Nothing would change: these values stand already.</p>`
        : nothing}
    ${left.length ? leftList(left, done) : nothing} ${kept.length ? keptList(kept) : nothing} ${freezes.length ? freezeList(freezes) : nothing}
    ${baselines.length ? baselineTable(baselines) : nothing}
  `;
}

const leftList = (left, done) =>
  html`<ul>
    ${left.map(
      (l) => html`<li>
        <span class="key">${words.place(l.key, l.context)}</span> ${done ? 'reads' : 'would then read'}
        <strong>${words.value(l.value, typeOf(l.key))}</strong>
      </li>`,
    )}
  </ul>`;

const keptList = (kept) =>
  html`<div class="told">
    <strong>${words.count(kept.length, 'value')} would stay as they are</strong>
    <ul>
      ${kept.map((k) => html`<li><span class="key">${words.place(k.key, k.context)}</span>: ${k.why}</li>`)}
    </ul>
  </div>`;

const freezeList = (freezes) =>
  html`<ul>
    ${freezes.map((f) => html`<li><code>${f.pattern}</code>, by ${f.author}, ${words.ago(f.since)}: ${f.reason}</li>`)}
  </ul>`;

const baselineTable = (baselines) =>
  html`<div class="scroll" tabindex="0" role="region" aria-label="Baselines">
    <table class="plain">
      <thead>
        <tr><th scope="col">parameter</th><th scope="col" class="right">new baseline</th></tr>
      </thead>
      <tbody>
        ${baselines.slice(0, MOST_KEYS).map(
          (b) => html`<tr>
            <th scope="row">${words.place(b.key, b.context)}</th>
            <td class="right">${valueCell(b.value, typeOf(b.key))}</td>
          </tr>`,
        )}
      </tbody>
    </table>
    ${baselines.length > MOST_KEYS ? html`<p class="dim">and ${words.count(baselines.length - MOST_KEYS, 'more', 'more')}</p>` : nothing}
  </div>`;

function violations(preview, together = null) {
  const list = preview.violations ?? [];
  if (!list.length && !preview.detail) return nothing;
  return html`<div class="told bad" role="alert" tabindex="-1">
    <strong>${list.length ? `${words.count(list.length, 'rule')} ${list.length === 1 ? 'stands' : 'stand'} against it` : 'It would be refused'}</strong>
    ${askedTable(list)}
    ${list.length ? html`<ul>${list.map((v) => html`<li class="pre">${v.text}</li>`)}</ul>${next(preview.detail)}` : html`<p class="pre">${preview.detail}</p>`}
    ${together ? others(list, together) : nothing}
  </div>`;
}

/** What the store advises. The sentences before it are shown rule by rule. */
function next(detail = '') {
  const at = detail.lastIndexOf('Next: ');
  return at < 0 ? nothing : html`<p class="pre advice">${detail.slice(at).replace('`--force` (force=True)', 'force')}</p>`;
}

/** Where a sum stands against it: a way to move the others with it. */
function others(list, together) {
  const rule = list.find((v) => v.rule === 'constraint' && v.text.includes(': sum of '));
  const moved = Object.keys(rule?.requested ?? {});
  const keys = rule ? beside(rule.key, moved).filter((key) => !moved.includes(key)) : [];
  if (!keys.length || keys.length > MOST_TOGETHER) return nothing;
  return html`<p><button type="button" @click=${() => together(keys)}>Add the ${words.count(keys.length, 'other')} of this group to the form</button></p>`;
}

const groupOf = (key) => key.slice(0, key.lastIndexOf('.'));

/** The keys of the groups of those that moved: a sum is mostly over one group. More than its own do no harm, since what is left as it is is not written. */
function beside(namespace, moved) {
  const groups = new Set(moved.map(groupOf));
  const all = new Set((state.rows ?? []).map((row) => row.key));
  return [...all].filter((key) => key.startsWith(`${namespace}.`) && groups.has(groupOf(key)));
}

/** What was asked for beside what stands and what would be allowed: one row for each value. */
function askedTable(list) {
  const asked = new Map();
  for (const v of list) {
    if (v.requested === undefined || v.requested === null || !state.places.has(v.key)) continue; // a rule has a name, but no value
    const id = words.placeId(v.key, v.context);
    const limits = v.allowed ?? asked.get(id)?.limits;
    asked.set(id, { v, limits, now: state.places.get(id)?.value });
  }
  if (!asked.size) return nothing;
  return html`<table class="plain">
    <caption class="hidden">What was asked for</caption>
    <thead>
      <tr>
        <th scope="col">parameter</th>
        <th scope="col" class="right">now</th>
        <th scope="col" class="right">asked for</th>
        <th scope="col" class="right">allowed now</th>
      </tr>
    </thead>
    <tbody>
      ${[...asked.values()].map(
        ({ v, limits, now }) => html`<tr>
          <th scope="row">${words.place(v.key, v.context)}</th>
          <td class="right">${valueCell(now, typeOf(v.key), 'not set')}</td>
          <td class="right"><strong>${valueCell(v.requested, typeOf(v.key))}</strong></td>
          <td class="right">${limits ? words.bounds({ minimum: limits[0], maximum: limits[1] }) : ''}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function forcing(preview, force, turn, unforced) {
  const left = new Set((preview.violations ?? []).map((v) => `${v.key} ${v.rule}`));
  const passed = new Set(unforced.filter((v) => !left.has(`${v.key} ${v.rule}`)).map((v) => v.rule));
  for (const change of preview.changes ?? []) for (const rule of change.overrode ?? []) passed.add(rule);
  if (!force && !(preview.violations ?? []).some((v) => PASSABLE.includes(v.rule))) return nothing;
  return html`<label class="check"
      ><input type="checkbox" .checked=${force} @change=${(event) => turn(event.target.checked)} />
      <span>I decide as a person: pass the limits that bind learners (bounds, sums and orders hold all the same)</span></label
    >
    ${force && passed.size
      ? html`<p class="told warn">Passed by force: ${[...passed].join(', ')}. The journal keeps that it was forced.</p>`
      : nothing}`;
}

// --- what has changed meanwhile ---------------------------------------------------------------------------

export const conflictView = (kind, before, now) =>
  html`<div class="beside">
    <section aria-label="What you saw">
      <h3>What you saw</h3>
      ${before ? effects(kind, before, false, 'Changes that you saw') : nothing}
    </section>
    <section aria-label="What it would do now">
      <h3>What it would do now</h3>
      ${effects(kind, now, false, 'Changes that would be made now')} ${violations(now)}
    </section>
  </div>`;

// --- what went wrong ----------------------------------------------------------------------------------------

export function troubleView(problem) {
  const list = problem.status === 409 ? [] : (problem.body?.violations ?? []);
  const title = problem.status === 409 ? 'Something has changed meanwhile; nothing was written' : 'Nothing was written';
  return html`<div class="told ${problem.status === 409 ? 'warn' : 'bad'}" role="alert" tabindex="-1">
    <strong>${title}</strong>
    <p class="pre">${problem.status === 401 ? tokenTrouble() : (problem.detail ?? String(problem))}</p>
    ${list.length ? html`<ul>${list.map((v) => html`<li class="pre">${v.text}</li>`)}</ul>` : nothing}
  </div>`;
}

const tokenTrouble = () => (api.token.get() ? 'The token that was given is not the right one.' : 'It takes the token, which shows that you may write.');

/** Where a person finds the token. */
export const tokenPlace = () => html`It is in the file <code>${[state.health?.store, '.paramstore/web-token'].filter(Boolean).join('/')}</code>;
  the command that serves this page (<code>paramstore serve</code> or <code>demo --page</code>) has printed where.`;

export const tokenField = () =>
  html`<label class="field"
    ><span>Token</span>
    <input name="token" type="password" autocomplete="off" spellcheck="false" required />
    <small>${tokenPlace()} It is kept until this tab is closed.</small></label
  >`;

// --- what was done --------------------------------------------------------------------------------------------

const DONE = {
  set: 'Written.',
  rollback: 'Rolled back.',
  freeze: 'Frozen. Every process obeys with its next commit.',
  unfreeze: 'The freeze has ended.',
  approve: 'Approved: drift is measured from these values now.',
};

export const doneView = (kind, result, close) =>
  html`<div class="told good" role="status">
      <strong>${DONE[kind]}</strong>
      ${result.revision === undefined ? nothing : html`<p @click=${close}>Revision ${revisionLink(result.revision)} stands.</p>`}
    </div>
    <div @click=${(event) => event.target.closest('a') && close()}>
      ${effects(kind, { ...result, freezes: kind === 'unfreeze' ? [] : result.freezes, summary: '' }, true)}
    </div>
    <p class="buttons"><button class="primary" @click=${close}>Close</button></p>`;
