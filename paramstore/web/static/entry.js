// One entry of the journal in a line: its kind, and what it did.

import { html, nothing } from 'lit-html';
import * as words from 'app/words';
import { typeOf } from 'app/state';
import { parameterLink, valueClass } from 'app/parts';

const SHOWN = 3; // changes that one line spells out
const LOUD = { refusal: 'refused', freeze: 'held', unfreeze: 'held', external: 'finding', rollback: 'finding', abort: 'refused' };

export const kind = (entry) =>
  LOUD[entry.kind] || entry.details?.forced
    ? html`<span class="chip ${LOUD[entry.kind] ?? 'finding'}">${words.kind(entry)}</span>`
    : words.kind(entry);

/** Everybody who is named as an author, with how many entries of each kind; in a report, of the entries that it holds. */
export async function readAuthors(api) {
  if (!api.embedded) return api.get('authors');
  const found = new Map();
  for (const { author, kind: made } of (await api.get('history')).entries) {
    if (!found.has(author)) found.set(author, { author, kinds: {} });
    const { kinds } = found.get(author);
    kinds[made] = (kinds[made] ?? 0) + 1;
  }
  return [...found.values()];
}

/** What an entry did; of its changes the first few are spelt out. */
export function what(entry, most = SHOWN) {
  const { changes } = entry;
  const first = changes.length > most && changes.every((c) => c.old === undefined);
  if (!changes.length || first) return words.summary(entry, typeOf);
  const rest = changes.length - most;
  return html`${changes.slice(0, most).map(
    (c) => html`<div class="clamp">${parameterLink(c.key, c.context)} <span class=${valueClass(c.old, c.new)}>${words.change(c.old, c.new, typeOf(c.key))}</span></div>`,
  )}${rest > 0 ? html` <div class="dim">and ${rest} more</div>` : nothing}`;
}
