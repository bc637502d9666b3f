// The changes of the transformer since 2017, line for line what src/transformer/ladder/*.py do:
// one part each, and at the end which parts a configuration means. Shapes as in model.js.
"use strict";
Page.shared((Page) => {
  const { add, dot, gelu, layerNorm, splitHeads, MultiHeadAttention, classicParts: CLASSIC } = Page;

  /** x + table[place], the table (max_seq_len, D) learned like that of the tokens. */
  class LearnedPositions {
    constructor({ config, data }) {
      Object.assign(this, { D: config.d_model, table: data("positions.table.weight") });
    }

    rows(length, start = 0) {
      return this.table.subarray(start * this.D, (start + length) * this.D); // (T, D)
    }

    forward(x, { T, start }) {
      return add(x, this.rows(T, start)); // (T, D)
    }
  }

  /** With rotary positions the stream itself holds none. */
  class NoPositions {
    rows() {
      return null;
    }

    forward(x) {
      return x;
    }
  }

  /** (a, b) at place p -> (a cos pω − b sin pω, b cos pω + a sin pω), ω_i = base^(−2i / K);
   *  channel i is paired with channel i + K/2. x: (heads, T, K), its first row at place `start`. */
  function rotate(x, { T, K, start }, base) {
    const out = new Float32Array(x.length), half = K / 2;
    for (let t = 0; t < T; t++) {
      for (let i = 0; i < half; i++) {
        const angle = (start + t) * base ** ((-2 * i) / K), cos = Math.cos(angle), sin = Math.sin(angle);
        for (let at = t * K + i; at < x.length; at += T * K) { // the same for each head
          const a = x[at], b = x[at + half];
          out[at] = a * cos - b * sin;
          out[at + half] = b * cos + a * sin;
        }
      }
    }
    return out;
  }

  /** γ · x / √(mean(x²) + ε) for each of the rows; γ is one number, a gain for each value, or 1. */
  function rmsNormed(x, rows, eps, gain = 1) {
    const width = x.length / rows, out = new Float32Array(x.length);
    for (let row = 0; row < rows; row++) {
      const start = row * width;
      const size = 1 / Math.sqrt(dot(x, start, x, start, width) / width + eps);
      for (let i = 0; i < width; i++) out[start + i] = x[start + i] * size * (gain[i] ?? gain);
    }
    return out;
  }

  /** The norms of blocks and output, and what a variant leaves out of them. */
  const NORMS = {
    layer({ config, data }, name) {
      const weight = data(`${name}.weight`), bias = data(`${name}.bias`);
      return (x, rows) => layerNorm(x, rows, weight, bias, config.variant.norm_eps);
    },
    rms({ config, data }, name) {
      const weight = data(`${name}.weight`) ?? 1;
      return (x, rows) => rmsNormed(x, rows, config.variant.norm_eps, weight);
    },
  };

  /** The token embedding, each vector brought to size 1 (the root of its mean of squares). */
  class NormedEmbedding extends CLASSIC.Embedding {
    constructor(parts) {
      super(parts);
      this.eps = parts.config.variant.norm_eps;
    }

    forward(ids) {
      return rmsNormed(super.forward(ids), ids.length, this.eps); // (T, D)
    }
  }

  /** What a neuron makes of its sum z; swiglu multiplies the result by a second sum. */
  const CURVES = {
    gelu: { name: "GELU", at: gelu },
    gelu_tanh: { name: "GELU (tanh)", at: (z) => 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3))) },
    relu2: { name: "ReLU²", at: (z) => Math.max(0, z) ** 2 },
    swiglu: { name: "SiLU", at: (z) => z / (1 + Math.exp(-z)) },
  };

  class VariantFeedForward extends CLASSIC.FeedForward {
    constructor(parameters, index) {
      super(parameters, index);
      this.curve = CURVES[parameters.config.variant.feed_forward];
    }
  }

  /** silu(z) · u with z = W_gate x and u = W_expand x. */
  class SwiGLU extends VariantFeedForward {
    constructor(parameters, index) {
      super(parameters, index);
      this.gate = parameters.linear(`${this.name}.gate`);
    }

    fire(x, T) {
      const passed = this.expand(x, T); // (T, F)
      return super.fire(x, T).map((opened, i) => opened * passed[i]); // (T, F)
    }

    sums(x, T) {
      return this.gate(x, T); // (T, F)
    }
  }

  /** c · q/|q| and c · k/|k|, |·| the root of the mean of squares; c is a number or learned gains. */
  function qkNorm({ config, data }, name) {
    const { qk_norm, qk_scale, norm_eps } = config.variant;
    if (qk_norm === "none") return null;
    const [forQueries, forKeys] = [0, 1].map((i) => data(`${name}.qk_norm.gains.${i}`) ?? qk_scale);
    return (queries, keys, K) => [rmsNormed(queries, queries.length / K, norm_eps, forQueries),
      rmsNormed(keys, keys.length / K, norm_eps, forKeys)];
  }

  /** values + λ · E_v[id], a second embedding (V, n_kv_heads · K). */
  function valueEmbedding({ config, data }, name) {
    if (!config.variant.value_embeddings) return null;
    const { n_kv_heads, head_size: K } = config, width = n_kv_heads * K;
    const table = data(`${name}.value_embedding.weight`), [share] = data(`${name}.value_embedding.share`);
    return (values, { ids, T }) => {
      const rows = new Float32Array(T * width); // (T, H_kv · K)
      ids.forEach((id, t) => rows.set(table.subarray(id * width, (id + 1) * width), t * width));
      const [looked] = splitHeads(rows, T, K, [n_kv_heads]); // (H_kv, T, K)
      return values.map((value, i) => value + share * looked[i]);
    };
  }

  /** Keys or values (n_kv_heads, …) -> (H, …): query head h reads head h // (H / n_kv_heads). */
  function sharedHeads(x, { n_heads: H, n_kv_heads }) {
    if (H === n_kv_heads) return x;
    const size = x.length / n_kv_heads, out = new Float32Array(H * size);
    for (let h = 0; h < H; h++) {
      const from = Math.floor(h / (H / n_kv_heads)) * size;
      out.set(x.subarray(from, from + size), h * size);
    }
    return out;
  }

  /** Q, K, V ─▶ values + E_v ─▶ QK-norm ─▶ rotary ─▶ cache ─▶ window ─▶ attend ─▶ output */
  class VariantAttention extends MultiHeadAttention {
    constructor(parameters, index) {
      super(parameters, index);
      this.config = parameters.config;
      const { positions, rotary_base, window } = this.config.variant;
      this.valueEmbedding = valueEmbedding(parameters, this.name);
      this.qkNorm = qkNorm(parameters, this.name);
      this.rotaryBase = positions === "rotary" ? rotary_base : null;
      if (window) this.firstKey = (position) => Math.max(0, position - window + 1); // itself and w − 1 before
    }

    /** Queries (H, T, K), keys and values (n_kv_heads, T, K), as they meet. */
    project(x, pass) {
      const { T, H, K, lesson } = pass, { n_kv_heads } = this.config;
      let [queries, keys, values] = splitHeads(this.qkvProjection(x, T), T, K, [H, n_kv_heads, n_kv_heads]);
      if (this.valueEmbedding) values = this.valueEmbedding(values, pass);
      if (this.qkNorm) [queries, keys] = this.qkNorm(queries, keys, K);
      if (this.rotaryBase && lesson.positions !== false) {
        [queries, keys] = [queries, keys].map((each) => rotate(each, pass, this.rotaryBase));
      }
      return this.tapAll([queries, keys, values], pass);
    }

    attend(queries, keys, values, pass) {
      return super.attend(queries, sharedHeads(keys, this.config), sharedHeads(values, this.config), pass);
    }
  }

  /** x ← λ₁ · x + λ₂ · x₀ before the block, x₀ the stream before the first one. */
  class SkipBlock extends CLASSIC.Block {
    constructor(parameters, index) {
      super(parameters, index);
      [this.keep] = parameters.data(`${this.name}.keep`); // λ₁
      [this.skip] = parameters.data(`${this.name}.skip`); // λ₂
    }

    enter(x, { lesson, embedded }) {
      return lesson.residual === false ? x : x.map((value, i) => this.keep * value + this.skip * embedded[i]);
    }
  }

  /** A table of its own, and logits z that become c · tanh(z / c). */
  class VariantOutput extends CLASSIC.Output {
    constructor({ config, data }) {
      super();
      Object.assign(this, { weight: data("output.weight"), cap: config.variant.logit_softcap });
    }

    logits(hidden, table, config) {
      const z = super.logits(hidden, this.weight ?? table, config); // (T, V)
      return this.cap === null ? z : z.map((value) => this.cap * Math.tanh(value / this.cap));
    }

    /** ∂ c · tanh(z / c) / ∂z = 1 − tanh². */
    slope(logit) {
      return this.cap === null ? 1 : 1 - (logit / this.cap) ** 2;
    }
  }

  /** What is built in each place: the one place where variants are chosen. */
  function partsFor({ variant }) {
    if (Page.isClassic(variant)) return CLASSIC;
    return {
      Embedding: variant.embedding_norm ? NormedEmbedding : CLASSIC.Embedding,
      Positions: { sinusoidal: CLASSIC.Positions, learned: LearnedPositions, rotary: NoPositions }[variant.positions],
      norm: NORMS[variant.norm],
      normName: variant.norm === "rms" ? "RMS norm" : CLASSIC.normName,
      Attention: VariantAttention,
      FeedForward: variant.feed_forward === "swiglu" ? SwiGLU : VariantFeedForward,
      Block: variant.input_skip ? SkipBlock : CLASSIC.Block,
      Output: VariantOutput,
    };
  }

  /** The model of any configuration. */
  function buildModel(config, tensors) {
    return new Page.DecoderOnlyTransformer(config, tensors, partsFor(config));
  }

  Object.assign(Page, { buildModel, rotate, rmsNormed, neuronCurves: CURVES });
});
