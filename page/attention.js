// Scaled dot-product attention and its heads, line for line what src/transformer/attention.py
// does, for one sequence (B = 1). Shapes as in model.js.
"use strict";
Page.shared((Page) => {
  const { dot } = Page;

  /** softmax(Q Kᵀ / √K) · V for H heads. `keys` and `values` hold `capacity` rows a head;
   *  firstKey(position) is the first key that a query may look at. */
  function scaledDotProductAttention(queries, keys, values, pass, { name, firstKey }) {
    const { T, S, H, K, capacity, lesson } = pass;
    const scale = lesson.scaling === false ? 1 : 1 / Math.sqrt(K);
    let scores = new Float32Array(H * T * S); // (H, T, S)
    for (let h = 0; h < H; h++) {
      for (let t = 0; t < T; t++) {
        for (let s = 0; s < S; s++) {
          const product = dot(queries, (h * T + t) * K, keys, (h * capacity + s) * K, K);
          scores[(h * T + t) * S + s] = product * scale;
        }
      }
    }
    scores = pass.tap(`${name}.scores`, scores, [H, T, S]);
    let weights = maskedSoftmax(scores, firstKey, pass); // (H, T, S)
    weights = pass.tap(`${name}.weights`, weights, [H, T, S]);
    return mixValues(weights, values, pass); // (H, T, K)
  }

  /** Query t is at position S - T + t and may look at the keys from the first one up to there. */
  function maskedSoftmax(scores, firstKey, { T, S, H, lesson }) {
    const weights = new Float32Array(H * T * S); // what is masked stays exactly 0
    for (let row = 0; row < H * T; row++) {
      const start = row * S, position = S - T + (row % T);
      const from = firstKey(position), to = lesson.mask === false ? S : position + 1;
      let largest = -Infinity, sum = 0;
      for (let s = from; s < to; s++) largest = Math.max(largest, scores[start + s]);
      for (let s = from; s < to; s++) sum += Math.exp(scores[start + s] - largest);
      for (let s = from; s < to; s++) {
        weights[start + s] = Math.exp(scores[start + s] - largest) / sum;
      }
    }
    return weights;
  }

  function mixValues(weights, values, { T, S, H, K, capacity }) {
    const heads = new Float32Array(H * T * K); // (H, T, K)
    const sum = new Float64Array(K);
    for (let row = 0; row < H * T; row++) {
      const base = Math.floor(row / T) * capacity;
      sum.fill(0);
      for (let s = 0; s < S; s++) {
        const weight = weights[row * S + s];
        if (weight === 0) continue;
        for (let k = 0; k < K; k++) sum[k] += weight * values[(base + s) * K + k];
      }
      heads.set(sum, row * K);
    }
    return heads;
  }

  /** (T, columns) -> for each of `counts` heads of K columns: (count, T, K). */
  function splitHeads(x, T, K, counts) {
    const columns = x.length / T;
    let from = 0;
    return counts.map((count) => {
      const heads = new Float32Array(count * T * K);
      for (let h = 0; h < count; h++, from += K) {
        for (let t = 0; t < T; t++) {
          heads.set(x.subarray(t * columns + from, t * columns + from + K), (h * T + t) * K);
        }
      }
      return heads;
    });
  }

  /** (H, T, K) -> (T, H · K), head after head. */
  function joinHeads(heads, T, H, K) {
    const joined = new Float32Array(T * H * K);
    for (let h = 0; h < H; h++) {
      for (let t = 0; t < T; t++) {
        joined.set(heads.subarray((h * T + t) * K, (h * T + t + 1) * K), (t * H + h) * K);
      }
    }
    return joined;
  }

  class MultiHeadAttention {
    constructor(parameters, index) {
      this.name = `blocks.${index}.attention`;
      this.index = index;
      this.qkvProjection = parameters.linear(`${this.name}.qkv_projection`);
      this.outputProjection = parameters.linear(`${this.name}.output_projection`);
      this.firstKey = () => 0; // a query sees everything before it
    }

    forward(x, pass) {
      const { T, D, H, K, cache } = pass;
      let [queries, keys, values] = this.project(x, pass); // (H, T, K) each
      if (cache) [keys, values] = cache.append(this.index, keys, values, T); // (H, S, K)
      let heads = this.attend(queries, keys, values, pass);
      heads = pass.tap(`${this.name}.heads`, heads, [H, T, K]); // (H, T, K)
      const joined = joinHeads(heads, T, H, K); // (T, H · K)
      return pass.tap(`${this.name}.output`, this.outputProjection(joined, T), [T, D]);
    }

    attend(queries, keys, values, pass) {
      return scaledDotProductAttention(queries, keys, values, pass, this); // (H, T, K)
    }

    /** (T, D) -> queries, keys, values, each (H, T, K). */
    project(x, pass) {
      const { T, H, K } = pass;
      const split = splitHeads(this.qkvProjection(x, T), T, K, [H, H, H]);
      return this.tapAll(split, pass);
    }

    /** Shows each to the tap; there may be fewer heads of keys and values than of queries. */
    tapAll(split, { T, K, tap }) {
      return ["queries", "keys", "values"].map((kind, which) =>
        tap(`${this.name}.${kind}`, split[which], [split[which].length / (T * K), T, K]));
    }
  }

  Object.assign(Page, { splitHeads, MultiHeadAttention });
});
