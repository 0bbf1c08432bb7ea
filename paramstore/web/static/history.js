// Every entry of the journal, the newest first.

import { html, nothing } from 'lit-html';
import * as api from 'app/api';
import * as words from 'app/words';
import { state, typeOf } from 'app/state';
import { kind, what } from 'app/entry';
import { authorLink, empty, parameterLink, revisionHref } from 'app/parts';

const AT_ONCE = 100;
const NAMES = ['pattern', 'author', 'kind', 'refused'];

export async function page(route, context) {
  let filters = Object.fromEntries(NAMES.map((name) => [name, route.query.get(name) ?? '']));
  let entries = []; // newest first
  let pending = [];
  let more = false;
  let busy = false;
  let problem = null;

  const asked = (before) =>
    api.path(['history'], { limit: AT_ONCE, before, pattern: filters.pattern, refused: filters.refused === '1' ? 1 : 0 });

  async function read() {
    const found = await api.get(asked());
    [entries, pending, more] = [[...found.entries].reverse(), found.pending ?? [], found.more];
  }

  async function older() {
    busy = true;
    context.rerender();
    try {
      const found = await api.get(asked(entries.at(-1)?.id));
      entries = [...entries, ...[...found.entries].reverse()];
      [more, problem] = [found.more, null];
    } catch (error) {
      problem = error;
    }
    busy = false;
    context.rerender();
  }

  /** Filter; who and what kind are chosen from what is read, the pattern and refusals by the server. */
  async function choose(changed) {
    filters = { ...filters, ...changed };
    const query = new URLSearchParams(Object.entries(filters).filter(([, v]) => v)).toString();
    context.navigate(`#/history${query ? `?${query}` : ''}`, { replace: true });
    if (!('pattern' in changed) && !('refused' in changed)) return;
    try {
      await read();
      problem = null;
    } catch (error) {
      problem = error;
    }
    context.rerender();
  }

  await read();
  return {
    title: 'History',
    event(entry) {
      if (entry.kind === 'refusal' && filters.refused !== '1') return;
      if (filters.pattern && !concerns(entry, filters.pattern)) return;
      if (!entries.some((known) => known.id === entry.id)) entries = [entry, ...entries];
      if (entry.kind === 'external') pending = [];
    },
    view() {
      const shown = entries.filter(
        (entry) =>
          (!filters.author || entry.author === filters.author) &&
          (!filters.kind || entry.kind === filters.kind) &&
          (filters.refused === '1' || entry.kind !== 'refusal') &&
          // In a report there is no server to choose; there the page does.
          (!context.embedded || !filters.pattern || concerns(entry, filters.pattern)),
      );
      return html`
        <div class="title">
          <h1>History</h1>
          ${context.act.offer(html`<button @click=${() => context.act.rollback()}>Roll back…</button>`)}
        </div>
        ${tools(filters, entries, shown, choose)}
        ${problem ? html`<p class="told bad" role="alert">${problem.detail ?? String(problem)}</p>` : nothing}
        ${pending.length ? unrecorded(pending) : nothing}
        ${shown.length ? table(shown) : nothingShown(entries, more)}
        ${more ? html`<p class="buttons"><button @click=${older} ?disabled=${busy}>${busy ? 'Reading…' : 'Older entries'}</button></p>` : nothing}
      `;
    },
  };
}

function concerns(entry, pattern) {
  const keys = entry.changes.map((change) => change.key);
  for (const item of entry.details?.violations ?? []) keys.push(item.key);
  if (entry.details?.pattern) return true; // whether two patterns meet is for the server to say
  return keys.some((key) => key === pattern || key.startsWith(`${pattern}.`) || words.matches(key, pattern));
}

function nothingShown(entries, more) {
  if (entries.length || more) return empty('None of the entries read so far is like that.');
  return state.health?.revision
    ? empty('No entry is like that.')
    : empty('The journal is empty: nothing has been changed yet.', html`<p class="dim">The first change of a learner or a person appears here at once.</p>`);
}

function tools(filters, entries, shown, choose) {
  const authors = [...new Set(entries.map((entry) => entry.author).filter(Boolean))].sort();
  const kinds = [...new Set(entries.map((entry) => entry.kind))].sort();
  const option = (value, word, chosen) => html`<option value=${value} .selected=${value === chosen}>${word}</option>`;
  const submit = (event) => {
    event.preventDefault();
    choose({ pattern: new FormData(event.target).get('pattern').trim() });
  };
  return html`<search class="tools" aria-label="Filters">
    <form class="find" @submit=${submit}>
      <label><span class="hidden">Key, namespace or pattern</span>
        <input type="search" name="pattern" placeholder="Key, namespace or pattern; then Enter" .value=${filters.pattern} autocomplete="off" spellcheck="false" />
      </label>
    </form>
    <label><span class="hidden">author</span>
      <select @change=${(event) => choose({ author: event.target.value })}>
        ${option('', 'all authors', filters.author)} ${authors.map((name) => option(name, name, filters.author))}
      </select>
    </label>
    <label><span class="hidden">kind</span>
      <select @change=${(event) => choose({ kind: event.target.value })}>
        ${option('', 'all kinds', filters.kind)} ${kinds.map((kind) => option(kind, words.kinds[kind] ?? kind, filters.kind))}
      </select>
    </label>
    <label class="toggle"
      ><input type="checkbox" .checked=${filters.refused === '1'} @change=${(event) => choose({ refused: event.target.checked ? '1' : '' })} />with refusals</label
    >
    <p class="counts" role="status">${words.count(shown.length, 'entry', 'entries')}${shown.length < entries.length ? ` of ${entries.length} read` : ''}</p>
  </search>`;
}

const unrecorded = (pending) =>
  html`<section class="told warn">
    <strong>Edited by hand, not yet recorded</strong>
    <ul>
      ${pending.map((c) => html`<li>${parameterLink(c.key, c.context)} ${words.change(c.old, c.new, typeOf(c.key))}</li>`)}
    </ul>
  </section>`;

const table = (shown) =>
  html`<table class="plain entries">
    <caption class="hidden">Entries, newest first</caption>
    <thead>
      <tr>
        <th scope="col" class="right">revision</th>
        <th scope="col">time</th>
        <th scope="col">kind</th>
        <th scope="col">author</th>
        <th scope="col">what</th>
        <th scope="col">why</th>
      </tr>
    </thead>
    <tbody>
      ${shown.map(line)}
    </tbody>
  </table>`;

const line = (entry) =>
  html`<tr>
    <th scope="row" class="right"><a data-row class="num" href=${revisionHref(entry.revision)}>${entry.revision}</a></th>
    <td class="when">${words.time(entry.time)} <span class="dim">${words.agoText(entry.time)}</span></td>
    <td class="brief">${kind(entry)}</td>
    <td class="brief">${authorLink(entry.author)}</td>
    <td class="what">${what(entry)}</td>
    <td class="why"><div class="pre clamp">${entry.reason}</div></td>
  </tr>`;
