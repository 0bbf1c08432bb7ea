// What the journal's entries say of one value over time: the line, its marks, freezes and baselines. Pure.
//
// Times are seconds since 1970. A clock may have been set back, so that a later entry bears an earlier time; the
// line then stands still until the clock has caught up, because entries are in the order in which they happened.

import { matches, placeId, same } from 'app/words';

/** Seconds since 1970 of a journal time. */
export const seconds = (iso) => Date.parse(iso) / 1000;

/** Whether an entry says something of `key`: a change, a refusal, a freeze of it, an approval. */
export function concerns(entry, key) {
  const details = entry.details ?? {};
  const named = [entry.changes, details.violations, details.baselines].some(
    (items) => Array.isArray(items) && items.some((item) => item?.key === key),
  );
  const held = entry.kind === 'freeze' || entry.kind === 'unfreeze';
  return named || (held && typeof details.pattern === 'string' && matches(key, details.pattern));
}

/** A value as a number to draw, or `null`. A whole number too long for one is drawn as near as can be. */
export function drawable(value) {
  const number = typeof value === 'bigint' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : null;
}

const text = (value) => JSON.stringify(value, (name, v) => (typeof v === 'bigint' ? `${v}n` : v));

/**
 * What `entries` (oldest first) say of `key` in exactly `context`, up to `now`.
 *
 * `values` holds what stood from `times[i]` on, `null` where the place had no value of its own; `marks` what happened,
 * each with the number or category at which it is drawn. `standing` is what the store says now, if that is known:
 * an edit by hand that no entry records yet ends the line.
 */
export function trace(entries, key, context, { spec = {}, standing, now }) {
  const place = placeId(key, context);
  const found = { steps: [], marks: [], bands: [], baselines: [], open: new Map(), last: -Infinity, value: undefined };
  for (const entry of entries) {
    const time = Math.max(seconds(entry.time), found.last);
    if (Number.isNaN(time)) continue;
    const before = found.marks.length + found.steps.length;
    take(found, entry, time, key, place);
    if (found.marks.length + found.steps.length > before) found.last = time;
  }
  for (const band of found.bands) band.to = Math.min(band.to ?? now, Math.max(now, band.from));
  return finish(found, spec, standing, Math.max(now, found.last));
}

function take(found, entry, time, key, place) {
  const details = entry.details ?? {};
  const here = (item) => item && placeId(item.key, item.context) === place;
  if (entry.kind === 'freeze') {
    if (matches(key, String(details.pattern))) openBand(found, entry, time, details.until);
  } else if (entry.kind === 'unfreeze') {
    closeBands(found, entry, time, details);
  } else if (entry.kind === 'approve') {
    for (const item of (details.baselines ?? []).filter(here)) baseline(found, time, item.value, entry);
  } else if (entry.kind === 'refusal') {
    const broken = (details.violations ?? []).filter(here);
    if (broken.length) found.marks.push({ time, entry, sort: 'refused', broken, asked: broken[0].requested, value: found.value });
  } else if (entry.kind !== 'abort') {
    for (const change of (entry.changes ?? []).filter(here)) step(found, entry, time, change);
  }
}

function openBand(found, entry, time, until) {
  const band = { from: time, to: until ? seconds(until) : null, entry };
  found.bands.push(band);
  found.open.set(entry.id, band);
}

function closeBands(found, entry, time, details) {
  const ends = Array.isArray(details.ends) ? new Set(details.ends) : null;
  for (const [id, band] of found.open) {
    if (ends ? !ends.has(id) : band.entry.details?.pattern !== details.pattern) continue;
    band.to = Math.min(band.to ?? time, time);
    found.open.delete(id);
  }
}

function baseline(found, time, value, entry) {
  found.baselines.push({ time, value, entry });
}

function step(found, entry, time, change) {
  const kept = 'new' in change && 'old' in change && same(change.old, change.new);
  if (!found.steps.length && 'old' in change) found.lead = change.old;
  found.value = change.new;
  if (!kept) found.steps.push({ time, value: change.new });
  found.marks.push({ time, entry, change, sort: kept ? 'kept' : 'change', value: 'new' in change ? change.new : change.old });
  const merged = Boolean(entry.details?.merged);
  const person = (entry.kind === 'external' && !merged) || (entry.kind === 'commit' && Boolean(entry.details?.forced));
  const first = merged && !('old' in change) && !found.baselines.length; // else it would have none
  if ((person && !kept) || first) baseline(found, time, change.new, entry);
}

// --- drawn on a scale -------------------------------------------------------------------------------

function finish(found, spec, standing, now) {
  const { steps, marks } = found;
  const all = [...steps.map((s) => s.value), found.lead, standing, ...marks.map((m) => m.value)];
  const shown = all.filter((value) => value !== undefined);
  const numeric = shown.every((value) => drawable(value) !== null) && (shown.length > 0 || ['number', 'integer'].includes(spec.type));
  const scale = numeric ? null : categories(shown, spec);
  const height = (value) => {
    if (value === undefined) return null;
    return numeric ? drawable(value) : (scale.get(text(value))?.index ?? null);
  };
  const points = line(found, standing, now);
  return {
    numeric,
    categories: numeric ? [] : [...scale.values()].map((one) => one.value),
    times: points.map((point) => point.time),
    values: points.map((point) => height(point.value)),
    marks: marks.map((mark) => ({ ...mark, y: heightOf(mark, height, steps, found.lead) })),
    bands: found.bands,
    baselines: found.baselines.map((b) => ({ ...b, y: height(b.value) })),
    authors: [...new Set(marks.map((mark) => mark.entry.author))],
    changes: steps.length,
    now,
  };
}

function heightOf(mark, height, steps, lead) {
  const asked = mark.sort === 'refused' ? height(mark.asked) : null; // what was asked for, where that can be drawn
  return asked ?? height(mark.value) ?? height(mark.change?.old) ?? height(steps[0]?.value ?? lead) ?? 0;
}

function line({ steps, lead }, standing, now) {
  const first = steps[0]?.time ?? now;
  const points = [];
  if (lead !== undefined) points.push({ time: first - Math.max((now - first) * 0.02, 1), value: lead });
  points.push(...steps);
  const last = steps.length ? steps.at(-1).value : standing;
  if (!steps.length && standing !== undefined) points.push({ time: now - 86400, value: standing });
  if (standing !== undefined && !same(standing, last)) points.push({ time: now, value: standing });
  else if (last !== undefined || steps.length) points.push({ time: Math.max(now, first + 1), value: last });
  return points;
}

function categories(values, spec) {
  const scale = new Map();
  for (const value of [...(spec.choices ?? []), ...(spec.type === 'boolean' ? [false, true] : []), ...values]) {
    if (!scale.has(text(value))) scale.set(text(value), { index: scale.size, value });
  }
  return scale;
}

/** The limits within which one commit of a learner may move `value` now, or `null` where no rule limits the step. */
export function reach(spec, value, baselineValue) {
  const [now, base] = [drawable(value), drawable(baselineValue)];
  if (now === null) return null;
  const limit = (name) => drawable(spec[name]);
  const relative = limit('max_step_relative');
  const steps = [limit('max_step'), relative === null ? null : Math.abs(now) * relative];
  const far = Math.min(...steps.filter((step) => step !== null)); // of none: Infinity
  const drift = (base === null ? null : limit('max_drift')) ?? Infinity;
  if (far === Infinity && drift === Infinity) return null;
  const low = Math.max(now - far, (base ?? 0) - drift, limit('minimum') ?? -Infinity);
  const high = Math.min(now + far, (base ?? 0) + drift, limit('maximum') ?? Infinity);
  return { low: Math.min(low, now), high: Math.max(high, now) };
}
