// What is a neuron for, what is a head for? Many stories pass through the model, and each neuron and
// head is watched at all of their positions. One pass serves them all; what is kept is about 100
// bytes for each neuron and 200 for each head.
"use strict";
Page.shared((Page) => {
  const PLACES = 10; // strongest ones that are kept of each
  /** Where a key can be, seen from its query; each key counts for the first that fits. */
  const [ITSELF, FIRST, BEFORE, AFTER_COPY, COPY, ELSEWHERE] = [0, 1, 2, 3, 4, 5];

  /** The best of many: values, largest first, one for each key, with what belongs to them. */
  class Strongest {
    constructor() {
      this.list = [];
    }

    /** Of two equal values the one that was offered first stays. */
    offer(value, key, ...about) {
      const { list } = this, full = list.length === PLACES;
      if (full && value <= list[PLACES - 1].value) return;
      const same = list.findIndex((one) => one.key === key);
      if (same >= 0 && value <= list[same].value) return;
      if (same >= 0) list.splice(same, 1);
      else if (full) list.pop();
      const after = list.findIndex((one) => one.value < value);
      list.splice(after < 0 ? list.length : after, 0, { value, key, about });
    }
  }

  /** The texts one after the other. kinds[p]: which of the different `tokens` is at position p; of
   *  the one before and the one after (-1: there is none). */
  function joinTexts(texts) {
    const tokens = [...new Set(texts.flat())], number = new Map(tokens.map((id, i) => [id, i]));
    const column = (shift) => Int32Array.from(texts.flatMap((ids) => ids.map((_, t) => number.get(ids[t + shift]) ?? -1)));
    return { tokens, kinds: [column(-1), column(0), column(1)] };
  }

  /** roles(model, texts), once: it is kept, and two who ask at the same time share the work, which
   *  goes on as long as one of them waits. */
  function* readStories({ model, memory }, texts) {
    const key = JSON.stringify(texts);
    if (memory.stories?.key !== key) memory.stories = { key, work: roles(model, texts), found: null };
    const reading = memory.stories;
    while (!reading.found) {
      memory.stories = null; // after an error whoever asks begins again
      const { done, value } = reading.work.next();
      memory.stories = reading;
      if (done) return (reading.found = value);
      yield value;
    }
    return reading.found;
  }

  /** {neurons, heads}, for each block. All texts pass a block before any passes the next, so that
   *  what one block computed is all that is held. */
  function* roles(model, texts) {
    const { n_layers: L } = model.config, text = { texts, relations: texts.map(relationsOf), ...joinTexts(texts) };
    const neurons = [], heads = [], seen = {};
    const tap = (name, values) => { seen[name.split(".").at(-1)] = values; };
    const passes = texts.map((ids) => model.steps(ids, { tap, logits: "none" }));
    for (let layer = 0; layer < L; layer++) {
      const weights = [], activations = [];
      for (const pass of passes) {
        yield { share: (layer + weights.length / passes.length) / L };
        pass.next();
        weights.push(seen.weights);
        activations.push(seen.activations);
      }
      neurons.push(yield* neuronRoles(model, text, activations));
      heads.push(yield* headRoles(model, text, weights, model.blocks[layer].attention));
    }
    return { neurons, heads };
  }

  /** Of all neurons of a block: the strongest places (positions in the joined texts; -1: fewer
   *  fire), each pair of a token and the one before it once; the share of positions where it fires;
   *  and of all that it fires the largest share that falls on one token, or on places before or
   *  after one: that token and its share. To fire is to have an activation above 0. */
  function* neuronRoles({ config: { d_ff: F } }, text, taps) {
    const found = { values: new Float32Array(F * PLACES), places: new Int32Array(F * PLACES).fill(-1),
      firing: new Float32Array(F), tokens: new Int32Array(3 * F), shares: new Float32Array(3 * F) };
    const activations = new Float32Array(text.kinds[0].length);
    for (let n = 0; n < F; n++) {
      let p = 0;
      for (const tap of taps) for (let i = n; i < tap.length; i += F) activations[p++] = tap[i];
      watchNeuron(activations, text, found, n);
      if (n % 32 === 31) yield;
    }
    return found;
  }

  function watchNeuron(activations, { tokens, kinds }, found, n) {
    const best = new Strongest(), [before, at] = kinds, sums = kinds.map(() => new Float64Array(tokens.length));
    let total = 0, count = 0;
    for (let p = 0; p < activations.length; p++) {
      const value = activations[p];
      if (!(value > 0)) continue;
      total += value;
      count++;
      for (let which = 0; which < 3; which++) if (kinds[which][p] >= 0) sums[which][kinds[which][p]] += value;
      best.offer(value, before[p] * tokens.length + at[p], p);
    }
    found.firing[n] = count / activations.length;
    for (const [which, sum] of sums.entries()) {
      const [top] = Page.largest(sum, 1);
      found.tokens[3 * n + which] = tokens[top];
      found.shares[3 * n + which] = total ? sum[top] / total : 0;
    }
    for (const [i, { value, about: [p] }] of best.list.entries()) {
      found.values[n * PLACES + i] = value;
      found.places[n * PLACES + i] = p;
    }
  }

  /** (T, T), row by row: the relation of key s to query t, s ≤ t. */
  function relationsOf(ids) {
    const T = ids.length, table = new Uint8Array(T * T);
    for (let t = 0; t < T; t++) {
      for (let s = 0; s <= t; s++) {
        table[t * T + s] = s === t ? ITSELF : s === 0 ? FIRST : s === t - 1 ? BEFORE
          : ids[s - 1] === ids[t] ? AFTER_COPY : ids[s] === ids[t] ? COPY : ELSEWHERE;
      }
    }
    return table;
  }

  /** Of all heads of a block: the share of attention that goes to each relation, and to the token
   *  that gets most as a key; what equal attention would give; and the largest weights on keys that
   *  are neither the token itself nor the first one (positions in the joined texts; -1: fewer), each
   *  pair of a query's and a key's token once. Queries at a text's first position have no choice and
   *  are left out. */
  function* headRoles({ config: { n_heads: H } }, text, taps, { firstKey }) {
    const equal = attentionOf(text, firstKey, (i, t) => 1 / (t + 1 - firstKey(t))), heads = [];
    for (let h = 0; h < H; h++) {
      yield;
      const weight = (i, t, s) => taps[i][(h * text.texts[i].length + t) * text.texts[i].length + s];
      const { shares, keys, places } = attentionOf(text, firstKey, weight), [top] = Page.largest(keys, 1);
      heads.push({ shares, places, token: text.tokens[top], tokenShare: keys[top], tokenEqual: equal.keys[top] });
    }
    return { equal: equal.shares, heads };
  }

  /** The shares of relations and of keys' tokens, and the largest weights, of one head: weight(text, query, key). */
  function attentionOf({ texts, relations, tokens, kinds: [, at] }, firstKey, weight) {
    const shares = new Float64Array(ELSEWHERE + 1), keys = new Float64Array(tokens.length), best = new Strongest();
    let start = 0, count = 0;
    for (const [i, ids] of texts.entries()) {
      for (let t = 1; t < ids.length; t++, count++) {
        for (let s = firstKey(t); s <= t; s++) {
          const value = weight(i, t, s), relation = relations[i][t * ids.length + s];
          shares[relation] += value;
          keys[at[start + s]] += value;
          if (relation !== ITSELF && relation !== FIRST && value > 0) best.offer(value, at[start + t] * tokens.length + at[start + s], start + t, start + s, relation);
        }
      }
      start += ids.length;
    }
    const places = best.list.map(({ value, about: [query, key, relation] }) => ({ value, query, key, relation })), share = (sum) => sum / count;
    return { shares: shares.map(share), keys: keys.map(share), places };
  }

  Object.assign(Page, { readStories });
});
