// From logits to the next token, as src/transformer/sampling.py: one pipeline of filters.
// Randomness comes from a seeded generator, so the same seed always tells the same story.
"use strict";
Page.shared((Page) => {

  /** A stream of numbers in [0, 1) that a seed decides (mulberry32, 32 bits of state). */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 15), z | 1);
      z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
      return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** What the next token is drawn from, (V) -> (V).
   *  Order: repetition penalty, temperature, top-k, top-p, min-p; temperature 0 is greedy. */
  function nextTokenDistribution(logits, options = {}) {
    const { temperature = 1, topK = null, topP = null, minP = null } = options;
    const { repetitionPenalty = 1, history = [] } = options;
    let scores = Float64Array.from(logits);
    for (const id of new Set(history)) {
      scores[id] = scores[id] > 0 ? scores[id] / repetitionPenalty : scores[id] * repetitionPenalty;
    }
    if (temperature === 0) {
      const probabilities = new Float64Array(scores.length);
      probabilities[Page.largest(scores, 1)[0]] = 1;
      return probabilities;
    }
    scores = scores.map((score) => score / temperature);
    if (topK !== null) scores = keepTopK(scores, topK);
    if (topP !== null) scores = keepTopP(scores, topP);
    if (minP !== null) scores = keepMinP(scores, minP);
    return Page.softmax(scores);
  }

  /** Indices from the largest score to the smallest; equal scores by index. */
  function ranking(scores) {
    return Uint32Array.from(scores, (_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
  }

  function keepOnly(scores, kept) {
    const out = new Float64Array(scores.length).fill(-Infinity);
    for (const i of kept) out[i] = scores[i];
    return out;
  }

  function keepTopK(scores, k) {
    return keepOnly(scores, ranking(scores).subarray(0, k));
  }

  /** The smallest set of most probable tokens whose probabilities sum to at least p. */
  function keepTopP(scores, p) {
    const probabilities = Page.softmax(scores), order = ranking(scores);
    let sum = 0, count = 0;
    while (count < order.length && (count === 0 || sum < p)) sum += probabilities[order[count++]];
    return keepOnly(scores, order.subarray(0, count));
  }

  /** Tokens at least `minP` times as probable as the most probable one. */
  function keepMinP(scores, minP) {
    const probabilities = Page.softmax(scores);
    const limit = minP * probabilities.reduce((a, b) => Math.max(a, b), 0);
    return scores.map((score, i) => (probabilities[i] >= limit ? score : -Infinity));
  }

  /** Draw one index: the first whose cumulative probability passes a random number. */
  function sample(probabilities, rng) {
    const target = rng();
    let sum = 0, last = 0;
    for (let i = 0; i < probabilities.length; i++) {
      if (probabilities[i] === 0) continue;
      sum += probabilities[i];
      last = i;
      if (target < sum) return i;
    }
    return last;
  }

  Object.assign(Page, { random, nextTokenDistribution, sample });
});
