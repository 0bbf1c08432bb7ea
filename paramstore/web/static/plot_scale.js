// Scales, axes and colours of the plots.

import * as words from 'app/words';
import { drawable } from 'app/trace';

// --- colours ----------------------------------------------------------------------------------------

const NAMES = [
  'line', 'text', 'grid', 'ground', 'outside', 'bound', 'baseline', 'reach', 'reachLine', 'frozen', 'frozenLine',
  'rollback', 'refused', 'good', 'bad', 'unsure',
];

/** The colours of the stylesheet as they are at `element` now: a canvas knows no variables. */
export function colours(element) {
  const probe = document.createElement('span');
  probe.hidden = true;
  element.append(probe);
  const resolved = (variable) => {
    probe.style.color = `var(${variable})`;
    return getComputedStyle(probe).color;
  };
  const dashed = (name) => `--plot-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const found = Object.fromEntries(NAMES.map((name) => [name, resolved(dashed(name))]));
  found.hues = Array.from({ length: words.HUES }, (_, hue) => resolved(`--author-${hue}`));
  found.font = `11px ${getComputedStyle(element).fontFamily}`;
  probe.remove();
  return found;
}

const watching = new Set();
const tell = () => watching.forEach((repaint) => repaint());
addEventListener('themechange', tell);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', tell);
matchMedia('print').addEventListener('change', tell);

/** Call `repaint` whenever the colours may have changed. Returns how to stop it. */
export function watch(repaint) {
  watching.add(repaint);
  return () => watching.delete(repaint);
}

// --- the scale of values ----------------------------------------------------------------------------

const ENOUGH = 0.12; // of the way between the bounds: values that move more are shown within them
const LARGEST = 1e300; // beyond it differences of two numbers are infinite

/**
 * The least and the greatest value that a plot shows between two times, and whether the bounds are in it.
 *
 * `whole` says whether they shall be; `null` leaves it to how far the values move: where that is a small part of the way
 * between the bounds, the movement would be a flat line.
 */
export function extent({ trace, bounds, reach }, from, to, whole) {
  if (!trace.numeric) return { low: -0.6, high: Math.max(trace.categories.length, 1) - 0.4, whole: false };
  let [low, high] = seen(trace, from, to);
  if (low > high) [low, high] = [bounds.low ?? 0, bounds.high ?? bounds.low ?? 1];
  const between = bounds.low != null && bounds.high != null ? bounds.high - bounds.low : null;
  const all = whole ?? (between !== null && (high - low) / between >= ENOUGH);
  if (all) {
    low = Math.min(low, bounds.low ?? low);
    high = Math.max(high, bounds.high ?? high);
  } else if (reach && reach.high - reach.low < Math.max(4 * (high - low), Math.abs(high) / 2)) {
    [low, high] = [Math.min(low, reach.low), Math.max(high, reach.high)];
  }
  [low, high] = [Math.max(low, -LARGEST), Math.min(high, LARGEST)];
  const room = (high - low) * 0.07 || Math.abs(high) * 0.1 || 1;
  return { low: low - room, high: high + room, whole: all };
}

function seen(trace, from, to) {
  let [low, high] = [Infinity, -Infinity];
  const take = (value) => {
    if (value === null || value === undefined) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  for (let index = 0; index < trace.times.length; index += 1) {
    const until = trace.times[index + 1] ?? Infinity;
    if (trace.times[index] <= to && until >= from) take(trace.values[index]);
  }
  const last = trace.baselines.at(-1);
  if (last && low <= high && Math.abs(last.y - (low + high) / 2) < 3 * (high - low)) take(last.y);
  return [low, high];
}

// --- axes -------------------------------------------------------------------------------------------

/** Times as this place's clock shows them, by 24 hours; the day or year stands once below. */
export const TIME_AXIS = [
  [31536000, '{YYYY}', null, null, null, null, null, null, 1],
  [2419200, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [86400, '{D} {MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [3600, '{HH}:{mm}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
  [60, '{HH}:{mm}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
  [0.001, '{ss}.{fff}', '\n{D} {MMM} {HH}:{mm}', null, null, null, '\n{HH}:{mm}', null, 1],
];

/** How to write the numbers of an axis whose ticks are `step` apart: with as many digits as tell them apart. */
export function decimalsFor(step) {
  const power = Math.floor(Math.log10(Math.abs(step) || 1));
  const decimals = Math.min(Math.max(-power, 0), 20);
  return (value) => {
    if (value === null || value === undefined) return value;
    const size = Math.abs(value);
    if (size >= 1e7 || decimals > 7) return Number(value).toExponential(Math.max(0, Math.min(exponent(size) - power, 12)));
    return value.toFixed(decimals);
  };
}

const exponent = (size) => (size ? Math.floor(Math.log10(size)) : 0);

const LONGEST = 18; // characters of a category beside the axis

/** An axis with one place for each category. */
export const categoryAxis = (categories) => ({
  splits: (u, axis, low, high, step, space) => {
    const count = categories().length;
    const every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor(u.height / 22))));
    return Array.from({ length: Math.ceil(count / every) }, (_, index) => index * every);
  },
  values: (u, splits) => splits.map((index) => short(words.value(categories()[index]))),
});

export const short = (text, most = LONGEST) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// --- sparklines -------------------------------------------------------------------------------------

/** Values as numbers that a small line can show: those that are none by the order in which they first came. */
export function heights(values) {
  const absent = (value) => value === undefined || value === null; // an override that was removed: a gap
  const numbers = values.map((value) => (absent(value) ? null : drawable(value)));
  if (values.every((value, index) => absent(value) || numbers[index] !== null)) return numbers;
  const known = new Map();
  for (const value of values.filter((one) => !absent(one))) {
    const text = words.value(value);
    if (!known.has(text)) known.set(text, known.size);
  }
  return values.map((value) => (absent(value) ? null : known.get(words.value(value))));
}
