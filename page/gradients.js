// Gradients of the output head, for real. With logits = W h, the gradient of one token's
// cross-entropy with respect to W is an outer product:
//
//     ∂loss/∂W = (softmax(W h) − onehot(target)) hᵀ         (V, D)
//
// so no automatic differentiation is needed. Step 7 adds these up in micro-batches. (Where W is
// also the embedding table, the part of its gradient that arrives through the blocks is left out.
// Where a model caps its logits, each row is multiplied by the slope of the cap, too.)
"use strict";
Page.shared((Page) => {
  const MOST_VALUES = 2 ** 18; // of one gradient: for a large vocabulary some rows must do

  /** The rows of W to look at: all of them, or those of `ids` first and then the lowest. */
  function gradientRows(config, ids) {
    const count = Math.min(config.vocab_size, Math.floor(MOST_VALUES / config.d_model));
    const rows = [...new Set(ids)].slice(0, count), taken = new Set(rows);
    for (let id = 0; rows.length < count; id++) if (!taken.has(id)) rows.push(id);
    return Uint32Array.from(rows).sort();
  }

  /** What one token contributes: softmax(logits) − onehot(target), at `rows`. */
  function headError({ output }, logits, target, rows) {
    const probabilities = Page.softmax(logits);
    probabilities[target] -= 1;
    return Float32Array.from(rows, (row) => probabilities[row] * output.slope(logits[row])); // (R)
  }

  /** hidden (T, D) after the final LayerNorm, targets (T) -> {hidden, errors (T, R), tokens}. */
  function* headErrors(model, hidden, targets, rows) {
    const D = model.config.d_model, tokens = targets.length;
    const errors = new Float32Array(tokens * rows.length);
    for (let t = 0; t < tokens; t++) {
      yield;
      const logits = model.unembed(hidden.subarray(t * D, (t + 1) * D)); // (V)
      errors.set(headError(model, logits, targets[t], rows), t * rows.length);
    }
    return { hidden, errors, tokens, D };
  }

  /** The same for all but the last of the ids, each with the next one as its target. */
  function* sequenceErrors(model, ids, rows) {
    let hidden = null;
    const tap = (name, values) => void (name === "final_norm" && (hidden = values));
    yield* model.steps(ids.slice(0, -1), { logits: "none", tap });
    return yield* headErrors(model, hidden, ids.slice(1), rows);
  }

  /** Sum over the first `lengths[i]` tokens of each part: Σ error hᵀ, (R, D); a pause after each part. */
  function* headGradientSteps(parts, lengths = parts.map((part) => part.tokens)) {
    const { D } = parts[0], R = parts[0].errors.length / parts[0].tokens;
    const sum = new Float32Array(R * D);
    for (const [i, { hidden, errors }] of parts.entries()) {
      for (let r = 0; r < R; r++) {
        for (let t = 0; t < lengths[i]; t++) {
          const error = errors[t * R + r];
          for (let d = 0; d < D; d++) sum[r * D + d] += error * hidden[t * D + d];
        }
      }
      yield;
    }
    return sum;
  }

  const headGradient = (parts, lengths) => Page.finish(headGradientSteps(parts, lengths));

  /** Gradients as a GradientAccumulator adds them: each micro-batch scaled, then summed.
   *  micro: arrays of sequence indices; shares: the factor of each micro-batch's mean. */
  function* accumulate(parts, micro, lengths, shares) {
    const total = new Float64Array(parts[0].D * parts[0].errors.length / parts[0].tokens);
    for (const [i, members] of micro.entries()) {
      const own = yield* headGradientSteps(members.map((s) => parts[s]), members.map((s) => lengths[s]));
      const factor = shares[i] / members.reduce((n, s) => n + lengths[s], 0);
      for (let j = 0; j < own.length; j++) total[j] += own[j] * factor;
    }
    return total;
  }

  /** Row and column i of the dot products of all pairs, (n, n), in place. */
  function gramRow(out, vectors, i) {
    const n = vectors.length, size = vectors[0].length;
    for (let j = 0; j < n; j++) {
      out[i * n + j] = out[j * n + i] = Page.dot(vectors[i], 0, vectors[j], 0, size);
    }
  }

  /** aᵀ K b: the dot product of two weighted sums of the vectors that K was made from. */
  function inner(K, a, b) {
    const n = a.length;
    let sum = 0;
    for (let i = 0; i < n; i++) if (a[i] !== 0) sum += a[i] * Page.dot(K, i * n, b, 0, n);
    return sum;
  }

  /** Angle in degrees between two weighted sums. */
  function angle(K, a, b) {
    const cosine = inner(K, a, b) / Math.sqrt(inner(K, a, a) * inner(K, b, b));
    return (Math.acos(Math.max(-1, Math.min(1, cosine))) * 180) / Math.PI;
  }

  /** Root mean square error, relative to the length of the mean of all `groups`, of a mean of
   *  N groups drawn with replacement, over `draws` draws. groups: weights over sequences. */
  function measuredNoise(K, groups, N, draws, rng) {
    const n = groups[0].length, mean = new Float64Array(n);
    for (const group of groups) for (let i = 0; i < n; i++) mean[i] += group[i] / groups.length;
    let sum = 0;
    for (let draw = 0; draw < draws; draw++) {
      const error = mean.map((value) => -value);
      for (let k = 0; k < N; k++) {
        const group = groups[Math.floor(rng() * groups.length)];
        for (let i = 0; i < n; i++) error[i] += group[i] / N;
      }
      sum += inner(K, error, error);
    }
    return Math.sqrt(sum / draws / inner(K, mean, mean));
  }

  Object.assign(Page, {
    gradientRows, headError, headErrors, sequenceErrors, headGradient, headGradientSteps, accumulate, gramRow, inner, angle, measuredNoise,
  });
});
