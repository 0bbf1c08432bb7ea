// What a dialog shows after its form: what would be done, what has changed meanwhile, what was done.

import { html, nothing } from 'lit-html';
import * as words from 'app/words';
import { state, typeOf } from 'app/state';
import { changesTable, revisionLink, valueCell } from 'app/parts';

const MOST_KEYS = 200;

// --- what it would do ---------------------------------------------------------------------------------

/** `turn(force)` asks again with the limits of learners passed; null where there is nothing to pass. */
export function previewView(kind, preview, force, turn, unforced) {
  return html`<section aria-label="What it would do">
    <h3>What it would do</h3>
    ${effects(kind, preview)} ${violations(preview)} ${turn ? forcing(preview, force, turn, unforced) : nothing}
  </section>`;
}

function effects(kind, preview, done = false, name = 'Changes') {
  const { changes = [], kept = [], freezes = [], baselines = [], summary } = preview;
  const refused = Boolean(preview.detail);
  return html`
    ${summary && !refused && !changes.length ? html`<p class="pre">${summary}</p>` : nothing}
    ${changes.length
      ? changesTable(changes, name, { links: done })
      : ['set', 'rollback'].includes(kind) && !refused
        ? html`<p class="told">Nothing would change: these values stand already.</p>`
        : nothing}
    ${kept.length ? keptList(kept) : nothing} ${freezes.length ? freezeList(freezes) : nothing}
    ${baselines.length ? baselineTable(baselines) : nothing}
  `;
}

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

function violations(preview) {
  const list = preview.violations ?? [];
  if (!list.length && !preview.detail) return nothing;
  return html`<div class="told bad" role="alert" tabindex="-1">
    <strong>${list.length ? `${words.count(list.length, 'rule')} ${list.length === 1 ? 'stands' : 'stand'} against it` : 'It would be refused'}</strong>
    ${askedTable(list)}
    ${list.length ? html`<ul>${list.map((v) => html`<li class="pre">${v.text}</li>`)}</ul>` : html`<p class="pre">${preview.detail}</p>`}
  </div>`;
}

/** What was asked for beside what stands and what would be allowed: one row for each value. */
function askedTable(list) {
  const asked = new Map();
  for (const v of list) {
    if (v.requested === undefined || v.requested === null) continue;
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
  if (!force && !left.size) return nothing;
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
    <p class="pre">${problem.detail ?? String(problem)}</p>
    ${list.length ? html`<ul>${list.map((v) => html`<li class="pre">${v.text}</li>`)}</ul>` : nothing}
  </div>`;
}

export const tokenField = () =>
  html`<label class="field"
    ><span>Token</span>
    <input name="token" type="password" autocomplete="off" spellcheck="false" required />
    <small>The command <code>paramstore serve</code> has printed the file that holds it. It is kept until this tab is closed.</small></label
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
