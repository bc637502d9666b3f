// Activation patching, as src/transformer/interpretability/patching.py: run the corrupted
// prompt, put in one value from the clean run, compute on, and see how much of the answer
// comes back. recovered = (patched − corrupted) / (clean − corrupted), logit differences
// (clean answer minus corrupted answer) at the last position.
"use strict";
Page.shared((Page) => {
  const SITES = ["residual", "residual_middle", "attention.output", "feed_forward.output"];
  const SMALLEST_DIFFERENCE = 1e-3; // logits

  class Patching {
    constructor(model, pair) {
      Object.assign(this, { model, ...pair, cleanValues: new Map() });
    }

    /** pair: {clean, corrupted (ids of equal length), cleanAnswer, corruptedAnswer (ids)}. Runs both. */
    static *prepare(model, pair) {
      const { clean, corrupted } = pair, patching = new Patching(model, pair);
      if (clean.length !== corrupted.length) {
        throw new RangeError(`The prompts have ${clean.length} and ${corrupted.length} tokens; `
          + "they must have equally many, so that positions match.");
      }
      const keep = (name, values) => void (patching.isPatched(name) && patching.cleanValues.set(name, values));
      patching.cleanDifference = patching.difference(yield* model.steps(clean, { tap: keep, logits: "last" }));
      const cache = (patching.cache = new Page.KVCache(model.config, corrupted.length)); // of the corrupted run
      patching.corruptedDifference = patching.difference(yield* model.steps(corrupted, { cache, logits: "last" }));
      if (Math.abs(patching.cleanDifference - patching.corruptedDifference) < SMALLEST_DIFFERENCE) {
        throw new RangeError("The model's answers to the two prompts hardly differ: "
          + "there is nothing to bring back.");
      }
      patching.firstChange = clean.findIndex((id, t) => id !== corrupted[t]);
      return patching;
    }

    isPatched(name) {
      return name === "embedding" || SITES.some((site) => name.endsWith(`.${site}`));
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
    *patchOne(tapName, position) {
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
      return this.recovered(yield* this.model.steps(ids, { cache: this.cache, tap, logits: "last" }));
    }

    /** Every tap in `names` (none: the corrupted run itself) at every position. */
    *patchAll(names) {
      const tap = (name) => (names.includes(name) ? this.cleanValues.get(name) : undefined);
      return this.recovered(yield* this.model.steps(this.corrupted, { tap, logits: "last" }));
    }

    /** (n_layers · T) recovered at one site, each layer and position alone; from the last position
     *  to the first. Yields {values, share} between model runs. */
    *sweep(site) {
      const L = this.model.config.n_layers, T = this.corrupted.length;
      const values = new Float64Array(L * T).fill(NaN);
      for (let t = T - 1; t >= 0; t--) {
        for (let layer = 0; layer < L; layer++) {
          values[layer * T + t] = yield* this.patchOne(`blocks.${layer}.${site}`, t);
          yield { values, share: 1 - (t * L + L - 1 - layer) / (T * L) };
        }
      }
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
});
