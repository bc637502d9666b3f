// Back-propagation, by hand, through the top of the model: from the loss of one token back to one
// weight. Forward, each place computes a value; backward, each gets its error, the derivative of the
// loss with respect to that value, from the errors of what was computed from it (the chain rule):
//
//   forward    a ─ × w ─▶ x_d ─ norm ─▶ h ─ · E_v ─▶ z_v ─ softmax ─▶ p ─▶ −ln p
//   backward   x̄_n w_dn      x̄      ◀─       h̄ = Σ_v z̄_v E_v     z̄ = p − onehot(target)
//
//   ∂loss/∂w_dn = x̄_d · a_n       w: from neuron n of the last block to number d of the stream
"use strict";
Page.shared((Page) => {
  const HALF = 6; // changed weights on each side of the curve
  const UNSURE = 0.05; // of a probability: from this to 1 minus this
  const NUDGE = 1 / 32; // of the curve's half width, for the slope by trial

  /** −ln softmax(logits)[target], in double precision. */
  function lossAt(logits, target) {
    const most = logits.reduce((a, b) => Math.max(a, b));
    return Math.log(logits.reduce((sum, z) => sum + Math.exp(z - most), 0)) + most - logits[target];
  }

  /** h̄ (D) = Σ_v z̄_v E_v, E the table of the output. */
  function* hiddenError(model, errors) {
    const { d_model: D, vocab_size: V } = model.config, table = model.output.weight ?? model.tokenEmbedding.weight;
    const sum = new Float64Array(D);
    for (let v = 0; v < V; v++) {
      const row = table.subarray(v * D, (v + 1) * D);
      for (let d = 0; d < D; d++) sum[d] += errors[v] * row[d];
      if (v % 4096 === 4095) yield;
    }
    return sum;
  }

  /** x̄ (D) from h̄, where h = γ · x̂ + β and x̂ = (x − μ) / σ; RMS norm has no μ. With g = γ h̄:
   *  x̄ = (g − mean(g) − x̂ · mean(g x̂)) / σ, without mean(g) for RMS norm. */
  function throughNorm(model, x, hiddenErrors) {
    const { norm, norm_eps: eps } = model.config.variant, gain = model.parameters.get("final_norm.weight")?.data;
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / x.length;
    const centre = norm === "rms" ? 0 : mean(x);
    const sigma = Math.sqrt(mean(Float64Array.from(x, (value) => (value - centre) ** 2)) + eps);
    const normed = Float64Array.from(x, (value) => (value - centre) / sigma);
    const g = hiddenErrors.map((error, d) => error * (gain?.[d] ?? 1));
    const along = mean(g.map((value, d) => value * normed[d])), middle = norm === "rms" ? 0 : mean(g);
    return g.map((value, d) => (value - middle - normed[d] * along) / sigma);
  }

  /** The loss after the weight has grown by `change`: only x_d of this position moves. */
  function lossAfter(model, { x, target, wire, activation }, change) {
    const moved = Float32Array.from(x);
    moved[wire] += change * activation;
    return lossAt(model.unembed(model.finalNorm(moved, { T: 1, lesson: {} })), target);
  }

  /** The loss on both sides of the weight as it is, and the slope by trial: (f(ε) − f(−ε)) / 2ε. */
  function* curveAround(model, place) {
    const size = Math.sqrt(Page.dot(place.x, 0, place.x, 0, place.x.length) / place.x.length);
    const width = Math.min(2, 2 * size / Math.max(1e-6, Math.abs(place.activation))), curve = [];
    for (let i = -HALF; i <= HALF; i++) {
      curve.push([(width * i) / HALF, lossAfter(model, place, (width * i) / HALF)]);
      yield;
    }
    const nudge = width * NUDGE, [above, below] = [nudge, -nudge].map((change) => lossAfter(model, place, change));
    return { curve, width, nudge, slope: (above - below) / (2 * nudge) };
  }

  /** The last place at which the model was undecided about what came, or null. */
  function* undecided(trace, ids) {
    for (let t = ids.length - 2; t >= 0; t--) {
      const p = Math.exp(-lossAt(trace.logits(t), ids[t + 1]));
      if (p > UNSURE && p < 1 - UNSURE) return t;
      yield;
    }
    return null;
  }

  /** All of it, for the loss of the token after `place`. null for place: see above; for neuron and
   *  wire: those that write most and that the loss depends on most. */
  function* backPropagate({ model, trace }, { ids, place, neuron, wire }) {
    const { n_layers: L, d_ff: F, d_model: D } = model.config, last = `blocks.${L - 1}`;
    const unsure = place ?? (yield* undecided(trace, ids)), position = unsure ?? ids.length - 2, target = ids[position + 1];
    const activations = trace.row(`${last}.feed_forward.activations`, position), x = trace.row(`${last}.residual`, position);
    const logits = trace.logits(position), loss = lossAt(logits, target);
    const errors = Page.headError(model, logits, target, Uint32Array.from(logits, (_, v) => v)); // z̄ (V)
    const hiddenErrors = yield* hiddenError(model, errors), streamErrors = throughNorm(model, x, hiddenErrors);
    const neurons = Page.strongestNeurons(model, L - 1, activations, 6);
    const n = neuron ?? neurons[0], d = wire ?? Page.largest(streamErrors.map(Math.abs), 1)[0];
    const weights = model.parameters.get(`${last}.feed_forward.contract.weight`).data; // (D, F)
    const column = Float64Array.from({ length: D }, (_, i) => weights.subarray(i * F + n, i * F + n + 1)[0]);
    const found = { neurons, neuron: n, wire: d, position, isUnsure: unsure !== null, target, loss, activation: activations[n], weight: column[d],
      gradient: streamErrors[d] * activations[n], neuronError: Page.dot(streamErrors, 0, column, 0, D),
      stream: x[d], streamError: streamErrors[d], hidden: trace.row("final_norm", position)[d], hiddenError: hiddenErrors[d],
      logit: logits[target], logitError: errors[target], probability: Math.exp(-loss) };
    return { ...found, ...yield* curveAround(model, { x, target, wire: d, activation: activations[n] }) };
  }

  Object.assign(Page, { backPropagate });
});
