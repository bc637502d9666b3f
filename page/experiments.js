// What the figures of steps 1 to 8 compute with the model beyond the pass that they all share:
// parts taken away, tokens changed, streams read early. Each is a generator (turns.js).
"use strict";
Page.shared((Page) => {
  const lengths = new WeakMap();

  /** Lengths of all rows of the embedding, once per model. */
  function* rowLengths(model) {
    if (!lengths.has(model)) {
      const { d_model: D, vocab_size: V } = model.config, table = model.tokenEmbedding.weight, all = new Float32Array(V);
      for (let v = 0; v < V; v++) {
        all[v] = Page.norm(table.subarray(v * D, (v + 1) * D));
        if (v % 4096 === 4095) yield;
      }
      lengths.set(model, all);
    }
    return lengths.get(model);
  }

  /** Step 1: the row of a token, the `count` tokens most similar to it by cosine, the mean of all. */
  function* neighbours(model, id, count) {
    const { d_model: D, vocab_size: V } = model.config, all = yield* rowLengths(model);
    const table = model.tokenEmbedding.weight, row = table.subarray(id * D, (id + 1) * D);
    const cosine = Page.linear(row, 1, table, null, D, V).map((product, v) => product / (all[v] * all[id] || 1));
    cosine[id] = -Infinity;
    const mean = cosine.reduce((sum, value) => sum + (value > -2 ? value : 0), 0) / (V - 1);
    const best = Page.largest(cosine, count);
    return { row: row.slice(), best, cosines: best.map((v) => cosine[v]), mean };
  }

  /** Dot products of the first T rows of positions, (T, T); null where the stream gets none. */
  function positionProducts(model, T) {
    const table = model.positions.rows(T);
    return table && Page.linear(table, T, table, null, model.config.d_model, T);
  }

  /** Output of the first block's attention at the last position. */
  function firstAttention(model, ids, lesson) {
    const pass = model.startPass(ids, null, null, lesson), [block] = model.blocks;
    pass.embedded = model.embed(ids, pass); // (T, D)
    const x = block.attentionNorm(block.enter(pass.embedded, pass), pass); // (T, D)
    return block.attention.forward(x, pass).slice(-model.config.d_model); // (D)
  }

  /** How much that output changes when the order does. */
  function* orderEffect(model, ids, other, lesson) {
    const a = firstAttention(model, ids, lesson);
    yield;
    const b = firstAttention(model, other, lesson);
    return { change: Math.max(...a.map((value, i) => Math.abs(value - b[i]))), size: Math.max(...a.map(Math.abs)) };
  }

  /** Step 3: largest change of any logit at each position but the last, when the last token changes. */
  function* changeBeforeLast(model, ids, other, lesson) {
    const V = model.config.vocab_size, passes = model.config.n_layers + 1;
    const a = yield* Page.part(model.steps(ids, { lesson }), 0, 0.5, passes);
    const b = yield* Page.part(model.steps(other, { lesson }), 0.5, 1, passes);
    return ids.slice(0, -1).map((_, t) => {
      let most = 0;
      for (let i = t * V; i < (t + 1) * V; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
      return most;
    });
  }

  const columnLengths = new WeakMap();

  /** Step 4: neurons by how much they write: |activation| · length of their column of W₂. */
  function strongestNeurons(model, layer, activations, count) {
    const { d_ff: F, d_model: D } = model.config, { data } = model.parameters.get(`blocks.${layer}.feed_forward.contract.weight`);
    if (!columnLengths.has(data)) {
      const squares = new Float64Array(F);
      for (let d = 0; d < D; d++) data.subarray(d * F, (d + 1) * F).forEach((weight, n) => { squares[n] += weight ** 2; });
      columnLengths.set(data, squares.map(Math.sqrt));
    }
    return Page.largest(columnLengths.get(data).map((length, n) => Math.abs(activations[n]) * length), count);
  }

  /** What goes into a block's curve at one position: W₁ · LayerNorm(x) + b₁, or its variant. */
  function neuronSums(model, layer, stream) {
    const block = model.blocks[layer];
    return block.feedForward.sums(block.feedForwardNorm(stream, { T: 1, lesson: {} }), 1);
  }

  const PIECE = 32; // tokens of a text between two pauses, for each block

  /** Logits at position t with one neuron of a block held at zero everywhere. */
  function* silence(model, ids, layer, neuron, t) {
    const tap = (name, values, [T, F]) => {
      if (name !== `blocks.${layer}.feed_forward.activations`) return undefined;
      const out = values.slice();
      for (let row = 0; row < T; row++) out[row * F + neuron] = 0;
      return out;
    };
    const cache = new Page.KVCache(model.config, t + 1);
    let logits;
    for (let from = 0; from <= t; from += PIECE) {
      const to = Math.min(from + PIECE, t + 1), pass = model.steps(ids.slice(from, to), { cache, tap, logits: "last" });
      logits = yield* Page.part(pass, from / (t + 1), to / (t + 1), model.config.n_layers);
    }
    return logits;
  }

  /** Step 5: logits (T, V) with a part taken away; "none": with all of them. */
  function* forwardWithout(model, ids, part) {
    if (part === "residual" || part === "norm") return yield* model.steps(ids, { lesson: { [part]: false } });
    const tap = (name, values) => (name === part ? new Float32Array(values.length) : undefined);
    return yield* model.steps(ids, { tap });
  }

  /** Mean cross-entropy in nats of each next token of the text: log Σ exp(z) − z of the token. */
  function lossOf(logits, ids, V) {
    let sum = 0;
    for (let t = 0; t + 1 < ids.length; t++) {
      const row = logits.subarray(t * V, (t + 1) * V), most = row.reduce((a, b) => Math.max(a, b), -Infinity);
      sum += Math.log(row.reduce((total, z) => total + Math.exp(z - most), 0)) + most - row[ids[t + 1]];
    }
    return sum / Math.max(1, ids.length - 1);
  }

  /** Loss and last distribution, as it is and without a part. */
  function* compareWithout(model, ids, part) {
    const V = model.config.vocab_size, passes = model.config.n_layers + 1, out = [];
    for (const [i, which] of ["none", part].entries()) {
      const logits = yield* Page.part(forwardWithout(model, ids, which), i / 2, (i + 1) / 2, passes);
      out.push({ loss: lossOf(logits, ids, V), last: Page.softmax(logits.subarray((ids.length - 1) * V)) });
    }
    return out;
  }

  /** Step 6: the best token and its probability for each layer (0 is the embedding) and position,
   *  the last position first. Yields {tokens, probabilities, share}; NaN: not yet computed. */
  function* lensTable({ model, trace }, from, to) {
    const { n_layers: L, d_model: D } = model.config, T = to - from;
    const tokens = new Int32Array((L + 1) * T), probabilities = new Float32Array((L + 1) * T).fill(NaN);
    for (let t = T - 1; t >= 0; t--) {
      for (let layer = 0; layer <= L; layer++) {
        const stream = trace.residual(layer).subarray((from + t) * D, (from + t + 1) * D);
        const p = Page.softmax(model.lens(stream)), top = Page.largest(p, 1)[0];
        tokens[layer * T + t] = top;
        probabilities[layer * T + t] = p[top];
        yield { tokens, probabilities, share: (T - 1 - t + (layer + 1) / (L + 1)) / T };
      }
    }
    return { tokens, probabilities };
  }

  /** Step 8: one more token, {id, probability}. writer: {ids, cache, rng}; past the context the
   *  last half is kept and read again. */
  function* nextToken(model, writer, settings) {
    const limit = model.config.max_seq_len;
    if (writer.ids.length > limit) {
      writer.ids = writer.ids.slice(-Math.max(1, Math.floor(limit / 2)));
      writer.cache.truncate(0);
    }
    const fresh = writer.ids.slice(writer.cache.length);
    const logits = yield* model.steps(fresh, { cache: writer.cache, logits: "last" });
    const probabilities = Page.nextTokenDistribution(logits, { ...settings, history: writer.ids });
    const id = Page.sample(probabilities, writer.rng);
    writer.ids = [...writer.ids, id];
    return { id, probability: probabilities[id] };
  }

  /** The next token from the whole text, and from its last token and the cache. */
  function* compareOnce(model, ids, cache, bug) {
    const started = performance.now();
    const whole = yield* model.steps(ids, { logits: "last" });
    const between = performance.now();
    const cached = cache.length, fresh = ids.slice(cached);
    const lesson = bug && cached > 0 ? { offset: 0 } : {};
    const last = yield* model.steps(fresh, { cache, lesson, logits: "last" });
    const ended = performance.now();
    let difference = 0;
    for (let i = 0; i < whole.length; i++) difference = Math.max(difference, Math.abs(whole[i] - last[i]));
    return {
      id: Page.largest(last, 1)[0], right: Page.largest(whole, 1)[0], difference,
      work: [Page.multiplyAdds(model.config, ids.length), Page.multiplyAdds(model.config, fresh.length, cached)],
      time: [between - started, ended - between],
    };
  }

  Object.assign(Page, {
    neighbours, positionProducts, orderEffect, changeBeforeLast, strongestNeurons, neuronSums, silence,
    forwardWithout, lossOf, compareWithout, lensTable, nextToken, compareOnce,
  });
});
