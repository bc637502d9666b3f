// What is a neuron for, what is a head for? Many stories pass through the model, and each neuron or
// head is watched at all of their positions. One pass serves all neurons, another all heads; what is
// kept is about 100 bytes for each neuron and 200 for each head.
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

  /** All texts pass a block before any passes the next, so that what one block computed is all that
   *  is held. watch(layer, of each text the tap `blocks.{layer}.{name}`): a generator, too. */
  function* blockByBlock(model, texts, name, watch) {
    const { n_layers: L } = model.config;
    let seen = null;
    const tap = (full, values) => { if (full.endsWith(name)) seen = values; };
    const passes = texts.map((ids) => model.steps(ids, { tap, logits: "none" }));
    for (let layer = 0; layer < L; layer++) {
      const taps = [];
      for (const pass of passes) {
        yield { share: (layer + taps.length / passes.length) / L };
        pass.next();
        taps.push(seen);
      }
      yield* watch(layer, taps);
    }
  }

  /** For each block, of all its neurons: the strongest places (positions in the joined texts; -1:
   *  fewer fire), each pair of a token and the one before it once; the share of positions where it
   *  fires; and of all that it fires the largest share that falls on one token, or on places before
   *  or after one: that token and its share. To fire is to have an activation above 0. */
  function* neuronRoles(model, texts) {
    const { d_ff: F } = model.config, text = joinTexts(texts), P = text.kinds[0].length, blocks = [];
    const activations = new Float32Array(P);
    yield* blockByBlock(model, texts, ".feed_forward.activations", function* (layer, taps) {
      const found = { values: new Float32Array(F * PLACES), places: new Int32Array(F * PLACES).fill(-1),
        firing: new Float32Array(F), tokens: new Int32Array(3 * F), shares: new Float32Array(3 * F) };
      for (let n = 0; n < F; n++) {
        let p = 0;
        for (const tap of taps) for (let i = n; i < tap.length; i += F) activations[p++] = tap[i];
        watchNeuron(activations, text, found, n);
        if (n % 32 === 31) yield;
      }
      blocks.push(found);
    });
    return blocks;
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

  /** For each block, of all its heads: the share of attention that goes to each relation, and to
   *  the token that gets most as a key; what equal attention would give; and the largest weights on
   *  keys that are neither the token itself nor the first one (positions in the joined texts; -1:
   *  fewer), each pair of a query's and a key's token once. Queries at a text's first position have
   *  no choice and are left out. */
  function* headRoles(model, texts) {
    const { n_heads: H } = model.config, text = joinTexts(texts), relations = texts.map(relationsOf), blocks = [];
    yield* blockByBlock(model, texts, ".attention.weights", function* (layer, taps) {
      const { firstKey } = model.blocks[layer].attention;
      const equal = attentionOf(texts, text, relations, firstKey, (i, t) => 1 / (t + 1 - firstKey(t))), heads = [];
      for (let h = 0; h < H; h++) {
        yield;
        const weight = (i, t, s) => taps[i][(h * texts[i].length + t) * texts[i].length + s];
        const { shares, keys, places } = attentionOf(texts, text, relations, firstKey, weight), [top] = Page.largest(keys, 1);
        heads.push({ shares, places, token: text.tokens[top], tokenShare: keys[top], tokenEqual: equal.keys[top] });
      }
      blocks.push({ equal: equal.shares, heads });
    });
    return blocks;
  }

  /** The shares of relations and of keys' tokens, and the largest weights, of one head: weight(text, query, key). */
  function attentionOf(texts, { tokens, kinds: [, at] }, relations, firstKey, weight) {
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

  Object.assign(Page, { neuronRoles, headRoles });
});
