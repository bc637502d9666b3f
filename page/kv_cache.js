// What generation remembers, as src/transformer/kv_cache.py, for one sequence (B = 1).
"use strict";
Page.shared((Page) => {

  /** Keys and values of every position so far, for all blocks: (n_kv_heads, capacity, K) each. */
  class KVCache {
    constructor(config, capacity = config.max_seq_len) {
      const size = capacity * config.n_kv_heads * config.head_size;
      Object.assign(this, { config, capacity, length: 0 });
      this.keys = Array.from({ length: config.n_layers }, () => new Float32Array(size)); // (H, S, K)
      this.values = Array.from({ length: config.n_layers }, () => new Float32Array(size));
    }

    append(layer, keys, values, T) {
      const { n_kv_heads: H, head_size: K } = this.config;
      for (let h = 0; h < H; h++) {
        const to = (h * this.capacity + this.length) * K;
        this.keys[layer].set(keys.subarray(h * T * K, (h + 1) * T * K), to);
        this.values[layer].set(values.subarray(h * T * K, (h + 1) * T * K), to);
      }
      return [this.keys[layer], this.values[layer]];
    }

    /** Forget every position from `length` on. */
    truncate(length) {
      this.length = Math.min(this.length, length);
    }
  }

  Object.assign(Page, { KVCache });
});
