// What Muon does to the gradient of a matrix: the rounds of src/transformer/ladder/muon.py, and the
// singular values of a matrix, to see what they did. Matrices are (R, C), row after row.
//
// The matrix is W₂ of the last block. Its gradient needs no automatic differentiation:
//
//     ∂loss/∂W₂ = Σ δ aᵀ          a (F): the neurons at a position; δ (D): ∂loss / ∂residual there,
//                                 from Wᵀ (softmax − onehot) back through the final norm
"use strict";
Page.shared((Page) => {
  const COEFFICIENTS = [3.4445, -4.775, 2.0315];
  const ROUNDS = 5;
  const TOLERANCE = 1e-13; // of what is left off the diagonal, relative to the whole
  const MOST_SWEEPS = 30;
  const AT_ONCE = 2e6; // multiply-adds between two pauses

  /** x / |x|, (n, m) with n ≤ m: as in Python a tall matrix is turned, so that the products are small. */
  function scaledWide(matrix, R, C) {
    const x = R > C ? transposed(matrix, R, C) : matrix, size = Page.norm(x) + 1e-7;
    return x.map((value) => value / size);
  }

  /** One round: a x + b (x xᵀ) x + c (x xᵀ)² x. */
  function* newtonSchulz(x, n, m) {
    const [a, b, c] = COEFFICIENTS;
    const square = yield* product(x, n, x, m, n), fourth = yield* product(square, n, square, n, n); // (n, n)
    const sum = square.map((value, i) => b * value + c * fourth[i]);
    const change = yield* product(sum, n, transposed(x, n, m), n, m); // (n, m)
    return x.map((value, i) => a * value + change[i]);
  }

  /** x (rows, inputs) · weightᵀ (inputs, outputs), a few rows at a time. */
  function* product(x, rows, weight, inputs, outputs) {
    const out = new Float32Array(rows * outputs), few = Math.max(1, Math.floor(AT_ONCE / (inputs * outputs)));
    for (let row = 0; row < rows; row += few) {
      const part = x.subarray(row * inputs, (row + few) * inputs);
      out.set(Page.linear(part, part.length / inputs, weight, null, inputs, outputs), row * outputs);
      yield;
    }
    return out;
  }

  function transposed(x, R, C) {
    const out = new Float32Array(x.length);
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) out[c * R + r] = x[r * C + c];
    return out; // (C, R)
  }

  /** Singular values of x (n, m), n ≤ m, the largest first: the roots of the eigenvalues of x xᵀ. */
  function* singularValues(x, n, m) {
    const square = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) square[i * n + j] = square[j * n + i] = Page.dot(x, i * m, x, j * m, m);
      yield;
    }
    const found = yield* eigenvalues(square, n);
    return found.map((value) => Math.sqrt(Math.max(0, value))).sort().reverse();
  }

  /** Eigenvalues of a symmetric matrix (n, n), which is overwritten. Jacobi's method: a rotation in
   *  the plane of two axes makes the entry between them 0; after a few sweeps over all pairs only
   *  the diagonal is left. */
  function* eigenvalues(a, n) {
    const enough = (TOLERANCE * Page.norm(a)) ** 2;
    for (let sweep = 0; sweep < MOST_SWEEPS && offDiagonal(a, n) > enough; sweep++) {
      for (let p = 0; p < n - 1; p++) {
        for (let q = p + 1; q < n; q++) if (a[p * n + q] !== 0) jacobiRotation(a, n, p, q);
        yield;
      }
    }
    return Float64Array.from({ length: n }, (_, i) => a[i * n + i]);
  }

  function offDiagonal(a, n) {
    let sum = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) sum += 2 * a[i * n + j] ** 2;
    return sum;
  }

  /** Golub and Van Loan, Matrix Computations, section 8.5: t is the tangent of the angle. */
  function jacobiRotation(a, n, p, q) {
    const pq = a[p * n + q], tau = (a[q * n + q] - a[p * n + p]) / (2 * pq);
    const t = (tau < 0 ? -1 : 1) / (Math.abs(tau) + Math.sqrt(1 + tau * tau));
    const cos = 1 / Math.sqrt(1 + t * t), sin = t * cos;
    const [pp, qq] = [a[p * n + p] - t * pq, a[q * n + q] + t * pq];
    for (let k = 0; k < n; k++) {
      const kp = a[p * n + k], kq = a[q * n + k];
      a[p * n + k] = a[k * n + p] = cos * kp - sin * kq;
      a[q * n + k] = a[k * n + q] = sin * kp + cos * kq;
    }
    a[p * n + p] = pp;
    a[q * n + q] = qq;
    a[p * n + q] = a[q * n + p] = 0;
  }

  /** ∂ mean loss / ∂ W₂ of the last block over all but the last token of each sequence: (D, F). */
  function* lastMatrixGradient(model, sequences) {
    const { d_model: D, d_ff: F, vocab_size: V, n_layers: L } = model.config, last = `blocks.${L - 1}`;
    const gradient = new Float64Array(D * F), rows = Uint32Array.from({ length: V }, (_, id) => id);
    let tokens = 0;
    for (const ids of sequences) {
      const seen = {}, tap = (name, values) => void (seen[name] = values);
      yield* model.steps(ids.slice(0, -1), { logits: "none", tap });
      const { errors } = yield* Page.headErrors(model, seen.final_norm, ids.slice(1), rows);
      const neurons = seen[`${last}.feed_forward.activations`], stream = seen[`${last}.residual`];
      for (let t = 0; t < ids.length - 1; t++, tokens++) {
        const error = errors.subarray(t * V, (t + 1) * V);
        addOuter(gradient, streamGradient(model, stream.subarray(t * D, (t + 1) * D), error), neurons, t * F, F);
        yield;
      }
    }
    return Float32Array.from(gradient, (value) => value / tokens);
  }

  function addOuter(sum, left, right, start, width) {
    left.forEach((value, r) => {
      for (let c = 0; c < width; c++) sum[r * width + c] += value * right[start + c];
    });
  }

  /** ∂loss / ∂ residual (D) at one position: the error of each logit back through the output's table
   *  and the final norm. With x̂ = (x − mean) / size and g = γ · ∂loss/∂norm it is
   *  (g − mean(g) − x̂ · mean(g x̂)) / size; RMS norm has no means of x and g. */
  function streamGradient(model, x, error) {
    const { d_model: D, variant: { norm, norm_eps } } = model.config, table = model.output.weight ?? model.tokenEmbedding.weight;
    const gain = model.parameters.get("final_norm.weight")?.data, g = new Float64Array(D);
    error.forEach((share, v) => {
      const row = table.subarray(v * D, (v + 1) * D);
      for (let d = 0; d < D; d++) g[d] += share * row[d];
    });
    if (gain) for (let d = 0; d < D; d++) g[d] *= gain[d];
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / D;
    const middle = norm === "layer" ? mean(x) : 0, centred = Float64Array.from(x, (value) => value - middle);
    const size = Math.sqrt(Page.dot(centred, 0, centred, 0, D) / D + norm_eps);
    const along = Page.dot(g, 0, centred, 0, D) / D / size, shift = norm === "layer" ? mean(g) : 0;
    return g.map((value, d) => (value - shift - (centred[d] / size) * along) / size);
  }

  /** Singular values of the gradient before the first round and after each, largest first. */
  function* muonRounds(model, sequences) {
    const { d_model: D, d_ff: F } = model.config, [n, m] = [Math.min(D, F), Math.max(D, F)], all = [];
    const passes = sequences.reduce((sum, ids) => sum + 2 * ids.length + model.config.n_layers, 0);
    let x = scaledWide(yield* Page.part(lastMatrixGradient(model, sequences), 0, 0.3, passes), D, F);
    for (let round = 0; round <= ROUNDS; round++) {
      const [from, to] = [round, round + 1].map((done) => 0.3 + (0.7 * done) / (ROUNDS + 1));
      all.push(yield* Page.part(singularValues(x, n, m), from, to, 10 * n));
      if (round < ROUNDS) x = yield* newtonSchulz(x, n, m);
    }
    return all;
  }

  Object.assign(Page, { scaledWide, newtonSchulz, singularValues, lastMatrixGradient, muonRounds });
});
