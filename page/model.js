// The transformer, line for line what src/transformer/{token_embedding, positional_encoding,
// feed_forward, block, parts, model}.py do, for one sequence (B = 1).
//
//   T positions · D d_model · H n_heads · K head size · F d_ff · V vocab_size · S = cached + T
//
// Arrays are Float32Array, row after row; the shape is at the end of the line: // (H, T, K)
"use strict";
Page.shared((Page) => {
  const { linear, add, layerNorm, gelu, MultiHeadAttention } = Page;
  const BASE = 10000;

  /** Row i of the table is the vector of token i, times √D. */
  class TokenEmbedding {
    constructor({ config, data }) {
      this.weight = data("token_embedding.weight"); // (V, D)
      Object.assign(this, { D: config.d_model, scale: config.embedding_scale });
    }

    /** (T) ids -> (T, D). */
    forward(ids) {
      const { D, scale, weight } = this, x = new Float32Array(ids.length * D);
      for (let t = 0; t < ids.length; t++) {
        const row = weight.subarray(ids[t] * D, (ids[t] + 1) * D);
        for (let i = 0; i < D; i++) x[t * D + i] = row[i] * scale;
      }
      return x; // (T, D)
    }
  }

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

  /** Adds to each vector the table's row for its place; there is nothing to learn. */
  class SinusoidalPositions {
    constructor({ config }) {
      Object.assign(this, { D: config.d_model, scale: config.variant.position_scale });
    }

    rows(length, start = 0) {
      return sinusoidalEncoding(length, this.D, start).map((value) => value * this.scale); // (T, D)
    }

    forward(x, { T, start }) {
      return add(x, this.rows(T, start)); // (T, D)
    }
  }

  class FeedForward {
    constructor(parameters, index) {
      this.name = `blocks.${index}.feed_forward`;
      this.expand = parameters.linear(`${this.name}.expand`);
      this.contract = parameters.linear(`${this.name}.contract`);
      this.curve = { name: "GELU", at: gelu };
    }

    forward(x, pass) {
      const { T, D, F } = pass;
      const activations = pass.tap(`${this.name}.activations`, this.fire(x, T), [T, F]);
      return pass.tap(`${this.name}.output`, this.contract(activations, T), [T, D]); // (T, D)
    }

    fire(x, T) {
      return this.sums(x, T).map(this.curve.at); // (T, F)
    }

    /** What goes into the curve. */
    sums(x, T) {
      return this.expand(x, T); // (T, F)
    }
  }

  class Block {
    constructor(parameters, index) {
      this.name = `blocks.${index}`;
      this.attentionNorm = parameters.norm(`${this.name}.attention_norm`);
      this.attention = new parameters.parts.Attention(parameters, index);
      this.feedForwardNorm = parameters.norm(`${this.name}.feed_forward_norm`);
      this.feedForward = new parameters.parts.FeedForward(parameters, index);
    }

    forward(x, pass) {
      const { T, D, lesson } = pass;
      const plus = (stream, write) => (lesson.residual === false ? write : add(stream, write));
      x = this.enter(x, pass); // (T, D)
      x = plus(x, this.attention.forward(this.attentionNorm(x, pass), pass)); // (T, D)
      x = pass.tap(`${this.name}.residual_middle`, x, [T, D]);
      x = plus(x, this.feedForward.forward(this.feedForwardNorm(x, pass), pass)); // (T, D)
      return pass.tap(`${this.name}.residual`, x, [T, D]);
    }

    /** What the block begins with; a variant mixes something in. */
    enter(x) {
      return x;
    }
  }

  /** Logits from the embedding's own table. */
  class TiedOutput {
    logits(hidden, table, { d_model: D, vocab_size: V }) {
      return linear(hidden, hidden.length / D, table, null, D, V); // (T, V)
    }

    /** How fast a logit moves with hidden · row of the table. */
    slope() {
      return 1;
    }
  }

  /** γ · (x − mean) / √(variance + ε) + β. */
  function classicNorm({ data }, name) {
    const weight = data(`${name}.weight`), bias = data(`${name}.bias`);
    return (x, T) => layerNorm(x, T, weight, bias);
  }

  /** What is built in each place of the model; ladder.js has others. */
  const CLASSIC = {
    Embedding: TokenEmbedding, Positions: SinusoidalPositions, norm: classicNorm, normName: "LayerNorm",
    Attention: MultiHeadAttention, FeedForward, Block, Output: TiedOutput,
  };

  /** What a part is built from: the configuration, and the tensors by name. */
  function parametersOf(config, tensors, parts) {
    const data = (name) => tensors.get(name)?.data ?? null; // null: this model has none
    const linearOf = (name) => {
      const { data: weight, shape: [outputs, inputs] } = tensors.get(`${name}.weight`);
      const bias = data(`${name}.bias`);
      return (x, rows) => linear(x, rows, weight, bias, inputs, outputs);
    };
    const parameters = { config, parts, data, linear: linearOf };
    parameters.norm = (name) => {
      const norm = parts.norm(parameters, name);
      return (x, { T, lesson }) => (lesson.norm === false ? x : norm(x, T));
    };
    return parameters;
  }

  class DecoderOnlyTransformer {
    /** config: of config.js; tensors: Map name -> {shape, data}. */
    constructor(config, tensors, parts = CLASSIC) {
      const parameters = parametersOf(config, tensors, parts);
      Object.assign(this, { config, parts, parameters: tensors, parameterCount: 0 });
      for (const { shape } of tensors.values()) this.parameterCount += shape.reduce((a, b) => a * b, 1);
      this.tokenEmbedding = new parts.Embedding(parameters);
      this.positions = new parts.Positions(parameters);
      this.blocks = Array.from({ length: config.n_layers }, (_, i) => new parts.Block(parameters, i));
      this.finalNorm = parameters.norm("final_norm");
      this.output = new parts.Output(parameters);
    }

    /** Logits for the token after each position, (T, V).
     *
     *  cache    a KVCache: these ids follow what it holds and are appended
     *  tap      (name, values, shape): sees every tap; what it returns is used instead
     *  lesson   parts to switch off: positions, mask, scaling, norm, residual: false; and
     *           offset: the position of the first id, where it should be a wrong one
     *  logits   "all", "last" (1, V) or "none" */
    forward(ids, options) {
      return Page.finish(this.steps(ids, options));
    }

    /** The same with a pause after each block (turns.js). */
    *steps(ids, { cache = null, tap = null, lesson = {}, logits = "all" } = {}) {
      const pass = this.startPass(ids, cache, tap, lesson);
      let x = this.embed(ids, pass); // (T, D)
      pass.embedded = x; // for variants; classic blocks ignore it
      for (const block of this.blocks) {
        x = block.forward(x, pass); // (T, D)
        yield;
      }
      if (cache) cache.length += ids.length;
      x = pass.tap("final_norm", this.finalNorm(x, pass), [pass.T, pass.D]); // (T, D)
      if (logits === "none") return new Float32Array(0);
      if (logits === "last") return this.unembed(x.subarray(x.length - pass.D)); // (V)
      return pass.tap("logits", this.unembed(x), [pass.T, this.config.vocab_size]); // (T, V)
    }

    startPass(ids, cache, tap, lesson) {
      const { d_model: D, n_heads: H, head_size: K, d_ff: F, max_seq_len, vocab_size } = this.config;
      const T = ids.length, S = T + (cache?.length ?? 0);
      if (T === 0) throw new RangeError("ids must hold at least one token");
      if (S > (cache?.capacity ?? max_seq_len)) throw new RangeError(`${S} positions do not fit`);
      for (const id of ids) {
        if (!(id >= 0 && id < vocab_size)) throw new RangeError(`id ${id} is outside the vocabulary`);
      }
      const use = (name, values, shape) => tap?.(name, values, shape) ?? values;
      const start = lesson.offset ?? S - T; // the place of the first id
      return { T, S, D, H, K, F, ids, start, cache, capacity: cache?.capacity ?? T, lesson, tap: use };
    }

    /** Scaled token embeddings plus positions: (T, D). */
    embed(ids, pass) {
      const tokens = this.tokenEmbedding.forward(ids); // (T, D)
      const x = pass.lesson.positions === false ? tokens : this.positions.forward(tokens, pass);
      return pass.tap("embedding", x, [pass.T, pass.D]);
    }

    /** (T, D) after the final norm -> (T, V). */
    unembed(x) {
      return this.output.logits(x, this.tokenEmbedding.weight, this.config);
    }

    /** The logit lens: what a residual stream (T, D) would predict if the model ended here. */
    lens(residual) {
      const T = residual.length / this.config.d_model;
      return this.unembed(this.finalNorm(residual, { T, lesson: {} }));
    }
  }

  Object.assign(Page, { sinusoidalEncoding, classicParts: CLASSIC, DecoderOnlyTransformer });
});
