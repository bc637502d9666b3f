// What the figures of step 11 compute: a head's queries and keys before anything was done to them,
// the scores they make, and what two curves make of the same sums.
"use strict";
Page.shared((Page) => {
  /** Queries and keys (T, K) of one head, as they leave their projection (`raw`) and as the model's
   *  own QK-norm leaves them (`normed`; null where it has none), not yet turned. `gain`: the largest
   *  factor that this norm gives a query times that of a key. */
  function headVectors({ model, trace }, layer, head) {
    const { n_heads, n_kv_heads, head_size: K, variant } = model.config, T = trace.ids.length;
    const block = model.blocks[layer], { attention } = block, pass = { T, lesson: {}, embedded: trace.get("embedding") };
    const x = block.attentionNorm(block.enter(trace.residual(layer), pass), pass); // (T, D)
    const both = Page.splitHeads(attention.qkvProjection(x, T), T, K, [n_heads, n_kv_heads]);
    const own = attention.qkNorm?.(...both, K), group = n_heads / n_kv_heads;
    const pick = ([queries, keys]) => ({ queries: rowsOf(queries, head, T * K), keys: rowsOf(keys, Math.floor(head / group), T * K) });
    const gains = [0, 1].map((i) => model.parameters.get(`blocks.${layer}.attention.qk_norm.gains.${i}`)?.data ?? [variant.qk_scale]);
    const gain = gains.reduce((product, values) => product * Math.max(...values.map(Math.abs)), 1);
    return { raw: pick(both), normed: own ? pick(own) : null, gain };
  }

  const rowsOf = (x, head, size) => x.slice(head * size, (head + 1) * size);

  /** The same vectors at places `start`, `start` + 1, …: turned as page/ladder.js turns them. */
  function turned({ queries, keys }, K, base, start = 0) {
    const [q, k] = [queries, keys].map((x) => Page.rotate(x, { T: x.length / K, K, start }, base));
    return { queries: q, keys: k };
  }

  /** q · k / √K of every query with the keys that it may see: one row for each query. */
  function scoreRows({ queries, keys }, K, firstKey = () => 0) {
    return Array.from({ length: queries.length / K }, (_, t) => {
      const from = firstKey(t);
      return Float64Array.from({ length: t + 1 - from }, (__, i) => Page.dot(queries, t * K, keys, (from + i) * K, K) / Math.sqrt(K));
    });
  }

  /** What each pair of channels (a, b) adds to the score of a query and a key `distance` places before
   *  it: ((q_a k_a + q_b k_b) cos(distance · ω) + (q_a k_b − q_b k_a) sin(distance · ω)) / √K. (K / 2) */
  function pairShares(query, key, distance, base) {
    const K = query.length, half = K / 2;
    return Float64Array.from({ length: half }, (_, i) => {
      const angle = distance * base ** ((-2 * i) / K);
      const along = query[i] * key[i] + query[i + half] * key[i + half];
      const across = query[i] * key[i + half] - query[i + half] * key[i];
      return (along * Math.cos(angle) + across * Math.sin(angle)) / Math.sqrt(K);
    });
  }

  /** The sums of a block's neurons over the text, (T, F): counted in `bins` from `low` to `high`,
   *  and how many of them each curve makes exactly 0. */
  function countNeurons({ model, trace }, layer, { low, high, bins }) {
    const { d_model: D, d_ff: F } = model.config, T = trace.ids.length, counts = new Uint32Array(bins);
    const zeros = { gelu: 0, relu2: 0 };
    const found = { zeros, counts, below: 0, above: 0, all: T * F, positive: new Uint32Array(T) };
    for (let t = 0; t < T; t++) {
      const stream = trace.get(`blocks.${layer}.residual_middle`).subarray(t * D, (t + 1) * D);
      for (const z of Page.neuronSums(model, layer, stream)) {
        for (const name in zeros) if (Page.neuronCurves[name].at(z) === 0) zeros[name]++;
        if (z > 0) found.positive[t]++;
        if (z < low) found.below++;
        else if (z >= high) found.above++;
        else counts[Math.floor(((z - low) / (high - low)) * bins)]++;
      }
    }
    return found;
  }

  Object.assign(Page, { headVectors, turned, scoreRows, pairShares, countNeurons });
});
