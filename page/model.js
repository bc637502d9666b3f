// The transformer, line for line what src/transformer/{positional_encoding, attention,
// feed_forward, block, kv_cache, model}.py do, for one sequence (B = 1).
//
//   T positions · D d_model · H n_heads · K = D / H · F d_ff · V vocab_size · S = cached + T
//
// Arrays are Float32Array, row after row; the shape is at the end of the line: // (H, T, K)
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { linear, dot, add, layerNorm, geluAll } = Page;
  const BASE = 10000;

  /** Sines in the even columns, cosines in the odd ones: rows `start` … `start + length - 1`. */
  function sinusoidalEncoding(length, d_model, start = 0) {
    const table = new Float32Array(length * d_model);
    for (let column = 0; column < d_model; column += 2) {
      const frequency = BASE ** (-column / d_model);
      for (let t = 0; t < length; t++) {
        table[t * d_model + column] = Math.sin((start + t) * frequency);
        table[t * d_model + column + 1] = Math.cos((start + t) * frequency);
      }
    }
    return table; // (T, D)
  }

  /** What generation remembers: keys and values of every position so far. */
  class KVCache {
    constructor(config, capacity = config.max_seq_len) {
      const size = capacity * config.d_model;
      Object.assign(this, { config, capacity, length: 0 });
      this.keys = Array.from({ length: config.n_layers }, () => new Float32Array(size)); // (H, S, K)
      this.values = Array.from({ length: config.n_layers }, () => new Float32Array(size));
    }

    append(layer, keys, values, T) {
      const { n_heads: H, d_model: D } = this.config, K = D / H;
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

  /** softmax(Q Kᵀ / √K) · V for H heads. `keys` and `values` hold `capacity` rows a head. */
  function scaledDotProductAttention(queries, keys, values, pass, name) {
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
    let weights = maskedSoftmax(scores, pass); // (H, T, S)
    weights = pass.tap(`${name}.weights`, weights, [H, T, S]);
    return mixValues(weights, values, pass); // (H, T, K)
  }

  /** Query t is at position S - T + t and may look at the keys up to there. */
  function maskedSoftmax(scores, { T, S, H, lesson }) {
    const weights = new Float32Array(H * T * S); // what is masked stays exactly 0
    for (let row = 0; row < H * T; row++) {
      const start = row * S;
      const allowed = lesson.mask === false ? S : S - T + (row % T) + 1;
      let largest = -Infinity, sum = 0;
      for (let s = 0; s < allowed; s++) largest = Math.max(largest, scores[start + s]);
      for (let s = 0; s < allowed; s++) sum += Math.exp(scores[start + s] - largest);
      for (let s = 0; s < allowed; s++) {
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

  class MultiHeadAttention {
    constructor(parameters, index) {
      this.name = `blocks.${index}.attention`;
      this.index = index;
      this.qkvProjection = parameters.linear(`${this.name}.qkv_projection`);
      this.outputProjection = parameters.linear(`${this.name}.output_projection`);
    }

    forward(x, pass) {
      const { T, D, H, K, cache } = pass;
      let [queries, keys, values] = this.project(x, pass); // (H, T, K) each
      if (cache) [keys, values] = cache.append(this.index, keys, values, T); // (H, S, K)
      let heads = scaledDotProductAttention(queries, keys, values, pass, this.name);
      heads = pass.tap(`${this.name}.heads`, heads, [H, T, K]); // (H, T, K)
      const joined = new Float32Array(T * D); // (T, D)
      for (let h = 0; h < H; h++) {
        for (let t = 0; t < T; t++) {
          joined.set(heads.subarray((h * T + t) * K, (h * T + t + 1) * K), t * D + h * K);
        }
      }
      return pass.tap(`${this.name}.output`, this.outputProjection(joined, T), [T, D]);
    }

    /** (T, D) -> queries, keys, values, each (H, T, K). */
    project(x, pass) {
      const { T, D, H, K } = pass;
      const all = this.qkvProjection(x, T); // (T, 3D)
      return ["queries", "keys", "values"].map((kind, which) => {
        const split = new Float32Array(H * T * K);
        for (let h = 0; h < H; h++) {
          for (let t = 0; t < T; t++) {
            const from = t * 3 * D + which * D + h * K;
            split.set(all.subarray(from, from + K), (h * T + t) * K);
          }
        }
        return pass.tap(`${this.name}.${kind}`, split, [H, T, K]);
      });
    }
  }

  class FeedForward {
    constructor(parameters, index) {
      this.name = `blocks.${index}.feed_forward`;
      this.expand = parameters.linear(`${this.name}.expand`);
      this.contract = parameters.linear(`${this.name}.contract`);
    }

    forward(x, pass) {
      const { T, D, F } = pass;
      const activations = geluAll(this.expand(x, T)); // (T, F)
      const used = pass.tap(`${this.name}.activations`, activations, [T, F]);
      return pass.tap(`${this.name}.output`, this.contract(used, T), [T, D]); // (T, D)
    }
  }

  class Block {
    constructor(parameters, index) {
      this.name = `blocks.${index}`;
      this.attentionNorm = parameters.norm(`${this.name}.attention_norm`);
      this.attention = new MultiHeadAttention(parameters, index);
      this.feedForwardNorm = parameters.norm(`${this.name}.feed_forward_norm`);
      this.feedForward = new FeedForward(parameters, index);
    }

    forward(x, pass) {
      const { T, D, lesson } = pass;
      const plus = (stream, write) => (lesson.residual === false ? write : add(stream, write));
      x = plus(x, this.attention.forward(this.attentionNorm(x, pass), pass)); // (T, D)
      x = pass.tap(`${this.name}.residual_middle`, x, [T, D]);
      x = plus(x, this.feedForward.forward(this.feedForwardNorm(x, pass), pass)); // (T, D)
      return pass.tap(`${this.name}.residual`, x, [T, D]);
    }
  }

  class DecoderOnlyTransformer {
    /** config as in config.py; tensors: Map name -> {shape, data}. */
    constructor(config, tensors) {
      const data = (name) => tensors.get(name).data;
      const parameters = {
        linear: (name) => {
          const weight = data(`${name}.weight`), bias = data(`${name}.bias`);
          const inputs = weight.length / bias.length;
          return (x, rows) => linear(x, rows, weight, bias, inputs, bias.length);
        },
        norm: (name) => {
          const weight = data(`${name}.weight`), bias = data(`${name}.bias`);
          return (x, { T, lesson }) => (lesson.norm === false ? x : layerNorm(x, T, weight, bias));
        },
      };
      Object.assign(this, { config, parameters: tensors, parameterCount: 0 });
      for (const tensor of tensors.values()) this.parameterCount += tensor.data.length;
      this.tokenEmbedding = data("token_embedding.weight"); // (V, D)
      this.blocks = Array.from({ length: config.n_layers }, (_, i) => new Block(parameters, i));
      this.finalNorm = parameters.norm("final_norm");
    }

    /** Logits for the token after each position, (T, V).
     *
     *  cache    a KVCache: these ids follow what it holds and are appended
     *  tap      (name, values, shape): sees every tap; what it returns is used instead
     *  lesson   parts to switch off: positions, mask, scaling, norm, residual: false; and
     *           offset: the position of the first id, where it should be a wrong one
     *  logits   "all", "last" (1, V) or "none" */
    forward(ids, { cache = null, tap = null, lesson = {}, logits = "all" } = {}) {
      const pass = this.startPass(ids, cache, tap, lesson);
      let x = this.embed(ids, pass); // (T, D)
      for (const block of this.blocks) x = block.forward(x, pass); // (T, D)
      if (cache) cache.length += ids.length;
      x = pass.tap("final_norm", this.finalNorm(x, pass), [pass.T, pass.D]); // (T, D)
      if (logits === "none") return new Float32Array(0);
      if (logits === "last") return this.unembed(x.subarray(x.length - pass.D)); // (V)
      return pass.tap("logits", this.unembed(x), [pass.T, this.config.vocab_size]); // (T, V)
    }

    startPass(ids, cache, tap, lesson) {
      const { d_model: D, n_heads: H, d_ff: F, max_seq_len, vocab_size } = this.config;
      const T = ids.length, S = T + (cache?.length ?? 0);
      if (T === 0) throw new RangeError("ids must hold at least one token");
      if (S > (cache?.capacity ?? max_seq_len)) throw new RangeError(`${S} positions do not fit`);
      for (const id of ids) {
        if (!(id >= 0 && id < vocab_size)) throw new RangeError(`id ${id} is outside the vocabulary`);
      }
      const use = (name, values, shape) => tap?.(name, values, shape) ?? values;
      return { T, S, D, H, K: D / H, F, cache, capacity: cache?.capacity ?? T, lesson, tap: use };
    }

    /** Scaled token embeddings plus positions: (T, D). */
    embed(ids, pass) {
      const { T, S, D, lesson } = pass;
      const start = lesson.offset ?? S - T;
      const x = lesson.positions === false
        ? new Float32Array(T * D) : sinusoidalEncoding(T, D, start); // (T, D)
      const scale = Math.sqrt(D);
      for (let t = 0; t < T; t++) {
        for (let i = 0; i < D; i++) x[t * D + i] += this.tokenEmbedding[ids[t] * D + i] * scale;
      }
      return pass.tap("embedding", x, [T, D]);
    }

    /** (T, D) after the final LayerNorm -> (T, V), with the embedding's own weight. */
    unembed(x) {
      const { d_model: D, vocab_size: V } = this.config;
      return linear(x, x.length / D, this.tokenEmbedding, null, D, V);
    }

    /** The logit lens: what a residual stream (T, D) would predict if the model ended here. */
    lens(residual) {
      const T = residual.length / this.config.d_model;
      return this.unembed(this.finalNorm(residual, { T, lesson: {} }));
    }
  }

  Object.assign(Page, { sinusoidalEncoding, KVCache, DecoderOnlyTransformer });
})();
