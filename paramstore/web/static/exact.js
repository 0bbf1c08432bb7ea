// Reading JSON without losing what a number looked like. JavaScript has one kind of number; the store has two.

// Whole numbers beyond 2^53 would be rounded without a word: they become BigInt, which no arithmetic takes by
// accident. That a number was written 1.0 and not 1 is kept aside, by the object or list that holds it.
const points = new WeakMap(); // holder → names of its numbers that were written with a point
const LONG = /(?<![.\d])\d{16,}/;
const POINTED = /\d\.0*[,\]}\s]|\d[eE]/;

function revive(name, value, read) {
  if (typeof value !== 'number' || !read?.source || !Number.isInteger(value)) return value;
  if (/[.eE]/.test(read.source)) {
    if (!points.has(this)) points.set(this, new Set());
    points.get(this).add(name);
  } else if (!Number.isSafeInteger(value)) return BigInt(read.source);
  return value;
}

/** Parse JSON; only texts that hold such a number pay for the slower reading. */
export const parse = (text) => JSON.parse(text, LONG.test(text) || POINTED.test(text) ? revive : undefined);

/** Tell whether a whole number was written with a point: `pointed(holder, name)`. */
export const pointed = (holder, name) => points.get(holder)?.has(String(name)) ?? false;
