// Activation patching, as src/transformer/interpretability/patching.py: run the corrupted
// prompt, put in one value from the clean run, compute on, and see how much of the answer
// comes back. recovered = (patched − corrupted) / (clean − corrupted), logit differences
// (clean answer minus corrupted answer) at the last position.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const SITES = ["residual", "residual_middle", "attention.output", "feed_forward.output"];
  const SMALLEST_DIFFERENCE = 1e-3; // logits

  class Patching {
    /** pair: {clean, corrupted (ids of equal length), cleanAnswer, corruptedAnswer (ids)} */
    constructor(model, pair) {
      const { clean, corrupted } = pair;
      if (clean.length !== corrupted.length) {
        throw new RangeError(`The prompts have ${clean.length} and ${corrupted.length} tokens; `
          + "they must have equally many, so that positions match.");
      }
      Object.assign(this, { model, ...pair, cleanValues: new Map() });
      const keep = (name, values) => void this.cleanValues.set(name, values);
      this.cleanDifference = this.difference(model.forward(clean, { tap: keep, logits: "last" }));
      this.cache = new Page.KVCache(model.config); // keys and values of the corrupted run
      const last = model.forward(corrupted, { cache: this.cache, logits: "last" });
      this.corruptedDifference = this.difference(last);
      if (Math.abs(this.cleanDifference - this.corruptedDifference) < SMALLEST_DIFFERENCE) {
        throw new RangeError("The model's answers to the two prompts hardly differ: "
          + "there is nothing to bring back.");
      }
      this.firstChange = clean.findIndex((id, t) => id !== corrupted[t]);
    }

    difference(logits) {
      return logits[this.cleanAnswer] - logits[this.corruptedAnswer];
    }

    recovered(logits) {
      const span = this.cleanDifference - this.corruptedDifference;
      return (this.difference(logits) - this.corruptedDifference) / span;
    }

    /** One place, one position. Positions before it keep their keys and values, so only the
     *  rest is computed: call with falling positions. */
    patchOne(tapName, position) {
      if (position < this.firstChange) return 0; // the same in both runs
      const { d_model: D } = this.model.config;
      const row = this.cleanValues.get(tapName).subarray(position * D, (position + 1) * D);
      const tap = (name, values) => {
        if (name !== tapName) return undefined;
        const changed = values.slice();
        changed.set(row, 0);
        return changed;
      };
      this.cache.truncate(position);
      const ids = this.corrupted.slice(position);
      return this.recovered(this.model.forward(ids, { cache: this.cache, tap, logits: "last" }));
    }

    /** Every tap in `names` (none: the corrupted run itself) at every position. */
    patchAll(names) {
      const tap = (name) => (names.includes(name) ? this.cleanValues.get(name) : undefined);
      return this.recovered(this.model.forward(this.corrupted, { tap, logits: "last" }));
    }

    /** (n_layers · T) recovered at one site, each layer and position alone; null if cancelled.
     *  onProgress(values, share done) is called between model runs, and the page breathes. */
    async sweep(site, { onProgress = () => {}, cancelled = () => false } = {}) {
      const L = this.model.config.n_layers, T = this.corrupted.length;
      const values = new Float64Array(L * T).fill(NaN);
      let since = performance.now();
      for (let t = T - 1; t >= 0; t--) {
        for (let layer = 0; layer < L; layer++) {
          values[layer * T + t] = this.patchOne(`blocks.${layer}.${site}`, t);
          if (performance.now() - since < 40) continue;
          onProgress(values, 1 - (t * L + L - 1 - layer) / (T * L));
          await Page.breathe();
          if (cancelled()) return null;
          since = performance.now();
        }
      }
      onProgress(values, 1);
      return values;
    }
  }

  /** Two prompts out of one song: the clean one, and one in which the syllable that answers
   *  was another in the first singing. `at` counts the copied tokens of tokenizeSong. */
  function songPair({ ids, first }, at, seed) {
    const copied = first.flatMap((earlier, t) => (earlier >= 0 ? [t] : []));
    const t = copied[Math.min(at, copied.length - 1)], place = first[t] + 1;
    const sung = [...new Set(copied.map((later) => ids[later + 1]))];
    const others = sung.filter((id) => id !== ids[place]);
    const clean = ids.slice(0, t + 1), corrupted = clean.slice();
    corrupted[place] = others[seed % others.length];
    return { clean, corrupted, cleanAnswer: ids[place], corruptedAnswer: corrupted[place], place };
  }

  Object.assign(Page, { Patching, songPair, patchingSites: SITES });
})();
