// Everything one forward pass computed, kept for the figures. After an edit only the tokens
// from the first changed one on are computed again: earlier positions cannot have changed.
"use strict";
Page.shared((Page) => {

  /** What a pass computed, by name: values is a Map name -> {data, shape}; logitRows t -> (V). */
  class TraceView {
    constructor(values = new Map(), logitRows = new Map()) {
      Object.assign(this, { values, logitRows });
    }

    get(name) {
      return this.values.get(name).data;
    }

    /** Residual stream (T, D): layer 0 is the embedding, layer i what block i - 1 left. */
    residual(layer) {
      return this.get(layer === 0 ? "embedding" : `blocks.${layer - 1}.residual`);
    }

    /** Row t of a (T, width) tap. */
    row(name, t) {
      const { data, shape } = this.values.get(name);
      return data.subarray(t * shape[1], (t + 1) * shape[1]);
    }

    /** Logits (V) for the token after position t. */
    logits(t) {
      return this.logitRows.get(t);
    }
  }

  class Trace extends TraceView {
    constructor(model, capacity = model.config.max_seq_len) {
      super();
      this.model = model;
      this.cache = new Page.KVCache(model.config, capacity);
      this.ids = [];
    }

    /** Compute what differs from the ids seen before; returns how many positions were kept. */
    update(ids) {
      return Page.finish(this.steps(ids));
    }

    /** The same with pauses. Left in the middle, it holds what both texts have in common. */
    *steps(ids) {
      let kept = 0;
      while (kept < ids.length && kept < this.ids.length && ids[kept] === this.ids[kept]) kept++;
      for (const t of [...this.logitRows.keys()]) if (t >= kept) this.logitRows.delete(t);
      this.cache.truncate(kept);
      this.ids = ids.slice(0, kept);
      const tap = (name, data, shape) => void this.values.set(name, this.join(name, data, shape, kept));
      if (kept < ids.length) {
        yield* this.model.steps(ids.slice(kept), { cache: this.cache, tap, logits: "none" });
      } else {
        for (const [name, { data, shape }] of this.values) { // a shorter text: cut
          const fresh = [...shape];
          fresh[fresh.length - 2] = 0;
          if (/\.(scores|weights)$/.test(name)) fresh[2] = ids.length;
          this.values.set(name, this.join(name, data.subarray(0, 0), fresh, kept));
        }
      }
      this.ids = [...ids];
      return kept;
    }

    /** The first `kept` rows of what was there, then the fresh rows; by head where there are heads. */
    join(name, data, shape, kept) {
      const old = this.values.get(name);
      const width = shape.at(-1), rows = shape.at(-2), heads = shape.length === 3 ? shape[0] : 1;
      const total = kept + rows, out = new Float32Array(heads * total * width);
      for (let h = 0; h < heads; h++) {
        for (let t = 0; t < kept; t++) {
          const oldWidth = old.shape.at(-1), from = (h * old.shape.at(-2) + t) * oldWidth;
          const row = old.data.subarray(from, from + Math.min(width, oldWidth));
          out.set(row, (h * total + t) * width);
        }
        const fresh = data.subarray(h * rows * width, (h + 1) * rows * width);
        out.set(fresh, (h * total + kept) * width);
      }
      const whole = [...shape];
      whole[whole.length - 2] = total;
      return { data: out, shape: whole };
    }

    /** Logits (V) for the token after position t. */
    logits(t) {
      if (!this.logitRows.has(t)) {
        this.logitRows.set(t, this.model.unembed(this.row("final_norm", t)));
      }
      return this.logitRows.get(t);
    }
  }

  Object.assign(Page, { TraceView, Trace });
});
