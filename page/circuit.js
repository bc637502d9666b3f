// Which earlier head the best induction head leans on, as
// src/transformer/interpretability/circuit.py: each head of an earlier block is set to zero, one
// at a time, and the one that is missed most is judged by where it looks.
"use strict";
Page.shared((Page) => {
  const COPIES = 0.3; // an induction score from which we speak of an induction head
  const MISSED = 0.25; // the share of that score which has to be lost without a head that it leans on
  const MOSTLY = 0.5; // of a head's attention

  /** One run per song {ids, first}, with one head (layer · H + head) silent or none (null):
   *  means over all repeated tokens. Each of induction, previous, duplicate is (n_layers · H). */
  function* look(model, songs, silent = null) {
    const { n_layers: L, n_heads: H, d_model: D } = model.config;
    const sums = Object.fromEntries(["induction", "previous", "duplicate"].map((name) => [name, new Float64Array(L * H)]));
    const ablate = Page.ablating(model.config, new Set(silent === null ? [] : [silent]));
    let probability = 0, count = 0;
    for (const { ids, first } of songs) {
      const weights = [], T = ids.length;
      let hidden = null;
      const tap = (name, values, shape) => {
        if (name.endsWith(".weights")) weights.push(values);
        if (name === "final_norm") hidden = values;
        return silent === null ? undefined : ablate(name, values, shape);
      };
      yield* model.steps(ids, { tap, logits: "none" });
      for (const [t, earlier] of first.entries()) {
        if (earlier < 0) continue;
        count++;
        const logits = model.unembed(hidden.subarray(t * D, (t + 1) * D)); // (V)
        probability += Page.softmax(logits)[ids[t + 1]];
        for (let i = 0; i < L * H; i++) {
          const layer = weights[Math.floor(i / H)], row = (position) => ((i % H) * T + position) * T;
          sums.induction[i] += layer[row(t) + earlier + 1];
          sums.duplicate[i] += layer[row(t) + earlier]; // from the repeated token to its earlier self
          sums.previous[i] += layer[row(earlier + 1) + earlier]; // from the token to be found to the one before
        }
        yield;
      }
    }
    for (const values of Object.values(sums)) values.forEach((sum, i) => { values[i] = sum / count; });
    return { ...sums, probability: probability / count, count };
  }

  /** {best: {score, layer, head}, probability, count, helpers}; helpers: every head of the blocks
   *  before the best one, the one most missed first. Yields {share, done, all}, in heads. */
  function* findCircuit(model, songs) {
    const { n_heads: H } = model.config, whole = yield* look(model, songs), helpers = [];
    const best = Page.bestHead({ scores: whole.induction, heads: H }), all = best.layer * H;
    if (best.score < COPIES) return { best, probability: whole.probability, count: whole.count, helpers };
    for (let i = 0; i < all; i++) {
      yield { share: i / all, done: i, all };
      const without = yield* look(model, songs, i);
      helpers.push({ layer: Math.floor(i / H), head: i % H, score: without.induction[best.layer * H + best.head],
        probability: without.probability, previous: whole.previous[i], duplicate: whole.duplicate[i] });
    }
    helpers.sort((one, other) => one.score - other.score);
    return { best, probability: whole.probability, count: whole.count, helpers };
  }

  /** "previous-token", "duplicate-token" or "neither": what gets more than half of its attention. */
  function helperKind({ previous, duplicate }) {
    if (Math.max(previous, duplicate) < MOSTLY) return "neither";
    return previous >= duplicate ? "previous-token" : "duplicate-token";
  }

  /** The helper most missed, if the score falls by at least a quarter without it; else null. */
  function leansOn({ best, helpers: [most] }) {
    return most && best.score >= COPIES && most.score <= (1 - MISSED) * best.score ? most : null;
  }

  const name = ({ layer, head }) => `block ${layer}, head ${head}`;

  /** The finding in words that are true of any model. */
  function describeCircuit(circuit) {
    const { best, helpers, probability } = circuit, { percent } = Page, [most] = helpers;
    if (best.score < COPIES) {
      return `No head of this model has an induction score of ${COPIES} on these songs (the best has ${best.score.toFixed(3)}): `
        + "there is no circuit to look for.";
    }
    if (!most) return `The best induction head, ${name(best)}, is in the first block: there is no earlier head that could help it.`;
    const start = `The best induction head, ${name(best)}, has a score of ${best.score.toFixed(3)}, and the copied tokens get ${percent(probability)}. `;
    const fall = `the score is ${most.score.toFixed(3)} and the copied tokens get ${percent(most.probability)}. `;
    const helper = leansOn(circuit);
    if (!helper) {
      return `${start}No earlier head stands out: it is missed most without ${name(most)}, and then ${fall}`
        + "Several heads may share the work, or stand in for each other.";
    }
    const looks = `From the token to be found, it gives ${percent(helper.previous)} of its attention to the token before; `
      + `from the repeated token, ${percent(helper.duplicate)} to the earlier copy. `;
    const verdict = { "previous-token": "A previous-token head: this model finds its place the first way.",
      "duplicate-token": "A duplicate-token head: this model finds its place the second way.",
      neither: "That is neither of the two kinds: how it helps, these scores do not tell." };
    return `${start}Most missed is ${name(helper)}: without it, ${fall}${looks}${verdict[helperKind(helper)]}`;
  }

  Object.assign(Page, { findCircuit, helperKind, leansOn, describeCircuit });
});
