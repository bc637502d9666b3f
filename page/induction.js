// Induction scores, ablation and activation patching, with the definitions of
// src/transformer/interpretability (songs.py, induction.py, ablation.py, patching.py).
"use strict";
Page.shared((Page) => {

  /** Story up to the end of its second singing -> {ids, first}: first[t] is where the token at
   *  t was in the first singing if the token after it is copied too, else -1; null if the
   *  context is too short for both singings. song, repetition: [start, stop] in characters. */
  function tokenizeSong({ text: story, song, repetition }, tokenizer, maxLength) {
    const text = story.slice(0, repetition[1]);
    const all = [tokenizer.startOfText, ...tokenizer.encode(text)];
    const firstCopy = tokensIn(all, song, text, tokenizer).reverse();
    const secondCopy = tokensIn(all, repetition, text, tokenizer).reverse();
    const first = all.map(() => -1), cut = Math.max(0, all.length - maxLength);
    for (let i = 1; i < Math.min(firstCopy.length, secondCopy.length); i++) {
      const earlier = firstCopy[i], later = secondCopy[i];
      const same = all[earlier] === all[later] && all[firstCopy[i - 1]] === all[secondCopy[i - 1]];
      if (!same || earlier < cut) break; // text around a copy may share a token with its ends
      first[later] = earlier - cut;
    }
    const result = { ids: all.slice(cut), first: first.slice(cut) };
    return result.first.some((position) => position >= 0) ? result : null;
  }

  /** Positions of the tokens that end inside a span of characters. */
  function tokensIn(ids, [start, stop], text, tokenizer) {
    const bytes = (end) => new TextEncoder().encode(text.slice(0, end)).length;
    const [from, to] = [bytes(start), bytes(stop)], positions = [];
    let end = 0;
    for (let position = 1; position < ids.length; position++) { // ids[0] begins the text
      end += tokenizer.decodeBytes([ids[position]]).length;
      if (from < end && end <= to) positions.push(position);
    }
    return positions;
  }

  /** `length` random tokens, twice: nothing but the repetition helps to predict the second copy. */
  function repeatedRandomTokens(tokenizer, length, seed) {
    const rng = Page.random(seed), copy = new Set();
    while (copy.size < length) {
      const id = Math.floor(rng() * tokenizer.vocabSize);
      if (!tokenizer.isSpecial(id)) copy.add(id);
    }
    const ids = [tokenizer.startOfText, ...copy, ...copy];
    const first = ids.map((_, t) => (t > length && t < 2 * length ? t - length : -1));
    return { ids, first };
  }

  /** Adds up attention from each repeated token to the one after its first occurrence. */
  class InductionScores {
    constructor({ n_layers, n_heads }) {
      Object.assign(this, { layers: n_layers, heads: n_heads, count: 0, chanceSum: 0 });
      this.sums = new Float64Array(n_layers * n_heads);
    }

    /** Runs the model on one {ids, first}; returns its attention weights by layer, (H, T, T). */
    *add(model, { ids, first }, also = () => {}) {
      const weights = [], T = ids.length;
      const tap = (name, values) => {
        also(name, values);
        if (name.endsWith(".weights")) weights.push(values);
      };
      yield* model.steps(ids, { tap, logits: "none" });
      first.forEach((earlier, t) => {
        if (earlier < 0) return;
        this.count++;
        this.chanceSum += 1 / (t + 1);
        for (let i = 0; i < this.sums.length; i++) {
          const layer = Math.floor(i / this.heads), head = i % this.heads;
          this.sums[i] += weights[layer][(head * T + t) * T + earlier + 1];
        }
      });
      return weights;
    }

    /** The score of a head that looks at all positions up to its own equally. */
    get chance() {
      return this.count ? this.chanceSum / this.count : 0;
    }

    /** (n_layers · H) scores, each from 0 to 1. */
    get scores() {
      return this.sums.map((sum) => (this.count ? sum / this.count : 0));
    }
  }

  /** {score, layer, head} of the largest. */
  function bestHead({ scores, heads }) {
    const [best] = Page.largest(scores, 1);
    return { score: scores[best], layer: Math.floor(best / heads), head: best % heads };
  }

  /** A tap that sets the output of some heads to zero. ablated: Set of layer · H + head. */
  function ablating(config, ablated) {
    return (name, values, [, T, K]) => {
      const layer = /^blocks\.(\d+)\.attention\.heads$/.exec(name)?.[1];
      if (layer === undefined) return undefined;
      const changed = values.slice();
      for (let head = 0; head < config.n_heads; head++) {
        if (!ablated.has(layer * config.n_heads + head)) continue;
        changed.fill(0, head * T * K, (head + 1) * T * K);
      }
      return changed;
    };
  }

  /** Probability of each copied token of the second singing: [{t, id, p}]. */
  function* copiedProbabilities(model, { ids, first }, tap = null) {
    const D = model.config.d_model, copied = [];
    let hidden = null;
    const keep = (name, values, shape) => {
      if (name === "final_norm") hidden = values;
      return tap?.(name, values, shape);
    };
    yield* model.steps(ids, { tap: keep, logits: "none" });
    for (const [t, earlier] of first.entries()) {
      if (earlier < 0) continue;
      const logits = model.unembed(hidden.subarray(t * D, (t + 1) * D)); // (V)
      copied.push({ t: t + 1, id: ids[t + 1], p: Page.softmax(logits)[ids[t + 1]] });
      yield;
    }
    return copied;
  }

  /** Does the model match or count? The second singing is made to start with the second and third
   *  syllable: a model that matches continues with the fourth, one that counts with the third. The
   *  prompt, and the first token of each; null for a song of fewer than four syllables or too long. */
  function matchOrCountPrompt(tokenizer, maxLength, { text, song: [start, stop], repetition }) {
    const syllables = text.slice(start, stop).split(" ");
    const prompt = `${text.slice(0, repetition[0])}${syllables[1]} ${syllables[2]}`;
    const ids = [tokenizer.startOfText, ...tokenizer.encode(prompt)];
    if (syllables.length < 4 || ids.length > maxLength) return null;
    const [third, fourth] = [2, 3].map((i) => tokenizer.encode(` ${syllables[i]}`)[0]);
    return { ids, third, fourth };
  }

  /** "match", "count" or "other". */
  function* matchOrCount(model, { ids, third, fourth }) {
    const [next] = Page.largest(yield* model.steps(ids, { logits: "last" }), 1);
    return next === fourth ? "match" : next === third ? "count" : "other";
  }

  Object.assign(Page, {
    tokenizeSong, tokensIn, repeatedRandomTokens, InductionScores, bestHead, ablating, copiedProbabilities, matchOrCountPrompt, matchOrCount,
  });
});
