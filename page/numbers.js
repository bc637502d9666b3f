// The arithmetic of the model: linear maps, LayerNorm, GELU, softmax, half-precision numbers.
// Vectors are Float32Array, row after row; sums are kept in double precision.
"use strict";
Page.shared((Page) => {

  /** x (rows, inputs) · weightᵀ (inputs, outputs) + bias. Each row's result depends on that
   *  row alone, in the same order of additions however many rows there are. */
  function linear(x, rows, weight, bias, inputs, outputs) {
    if (weight.linear) return weight.linear(x, rows, bias, inputs, outputs); // in half precision
    const out = new Float32Array(rows * outputs);
    const whole = outputs - (outputs % 4);
    for (let o = 0; o < whole; o += 4) fourOutputs(x, rows, weight, o * inputs, bias, inputs, outputs, o, out);
    for (let o = whole; o < outputs; o++) {
      for (let row = 0; row < rows; row++) {
        const sum = dot(x, row * inputs, weight, o * inputs, inputs);
        out[row * outputs + o] = sum + (bias ? bias[o] : 0);
      }
    }
    return out;
  }

  /** Columns o … o + 3 of the product; their weights begin at weight[start]. */
  function fourOutputs(x, rows, weight, start, bias, inputs, outputs, o, out) {
    const pairs = rows - (rows % 2);
    for (let row = 0; row < pairs; row += 2) twoRows(x, row, weight, start, bias, inputs, outputs, o, out);
    if (pairs < rows) oneRow(x, pairs, weight, start, bias, inputs, outputs, o, out);
  }

  /** Eight sums use each number that was read more than once. */
  function twoRows(x, row, weight, w0, bias, inputs, outputs, o, out) {
    const from = row * inputs, next = from + inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs;
    let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    for (let i = 0; i < inputs; i++) {
      const value = x[from + i], other = x[next + i];
      const p = weight[w0 + i], q = weight[w1 + i], r = weight[w2 + i], s = weight[w3 + i];
      a += value * p; b += value * q; c += value * r; d += value * s;
      e += other * p; f += other * q; g += other * r; h += other * s;
    }
    store(out, row * outputs + o, a, b, c, d, bias, o);
    store(out, (row + 1) * outputs + o, e, f, g, h, bias, o);
  }

  /** Four sums at once keep the processor busy. */
  function oneRow(x, row, weight, w0, bias, inputs, outputs, o, out) {
    const from = row * inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs;
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0; i < inputs; i++) {
      const value = x[from + i];
      a += value * weight[w0 + i];
      b += value * weight[w1 + i];
      c += value * weight[w2 + i];
      d += value * weight[w3 + i];
    }
    store(out, row * outputs + o, a, b, c, d, bias, o);
  }

  function store(out, to, a, b, c, d, bias, o) {
    out[to] = a + (bias ? bias[o] : 0);
    out[to + 1] = b + (bias ? bias[o + 1] : 0);
    out[to + 2] = c + (bias ? bias[o + 2] : 0);
    out[to + 3] = d + (bias ? bias[o + 3] : 0);
  }

  /** Σ a[aStart + i] · b[bStart + i] over `length` terms. */
  function dot(a, aStart, b, bStart, length) {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += a[aStart + i] * b[bStart + i];
    return sum;
  }

  function add(a, b) {
    const out = new Float32Array(a.length);
    for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
    return out;
  }

  const LAYER_NORM_EPS = 1e-5;

  /** Each row minus its mean, divided by its standard deviation (the biased one), rescaled;
   *  without a weight or a bias (null) by nothing. */
  function layerNorm(x, rows, weight, bias, eps = LAYER_NORM_EPS) {
    const width = x.length / rows, out = new Float32Array(x.length);
    for (let row = 0; row < rows; row++) {
      const start = row * width;
      let mean = 0;
      for (let i = 0; i < width; i++) mean += x[start + i];
      mean /= width;
      let variance = 0;
      for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2;
      const scale = 1 / Math.sqrt(variance / width + eps);
      for (let i = 0; i < width; i++) {
        out[start + i] = (x[start + i] - mean) * scale * (weight ? weight[i] : 1) + (bias ? bias[i] : 0);
      }
    }
    return out;
  }

  /** The error function, |error| < 1.5e-7. Abramowitz and Stegun, formula 7.1.26. */
  function erf(x) {
    const z = Math.abs(x), t = 1 / (1 + 0.3275911 * z);
    const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
      + 0.254829592) * t;
    return Math.sign(x) * (1 - poly * Math.exp(-z * z));
  }

  /** GELU(z) = z · Φ(z), the exact form with erf. */
  function gelu(z) {
    return 0.5 * z * (1 + erf(z * Math.SQRT1_2));
  }

  /** softmax of any array of numbers: positive, sums to 1. */
  function softmax(scores) {
    let largest = -Infinity, sum = 0;
    for (const score of scores) if (score > largest) largest = score;
    const out = new Float64Array(scores.length);
    for (let i = 0; i < out.length; i++) sum += out[i] = Math.exp(scores[i] - largest);
    for (let i = 0; i < out.length; i++) out[i] /= sum;
    return out;
  }

  /** Indices of the `count` largest entries, largest first. */
  function largest(values, count) {
    const best = [];
    for (let i = 0; i < values.length; i++) {
      if (best.length === count && !(values[i] > values[best[count - 1]])) continue;
      let place = best.length < count ? best.length : count - 1;
      while (place > 0 && values[i] > values[best[place - 1]]) {
        best[place] = best[place - 1];
        place--;
      }
      best[place] = i;
    }
    return best;
  }

  /** Shannon entropy in bits. */
  function entropy(probabilities) {
    let bits = 0;
    for (const p of probabilities) if (p > 0) bits -= p * Math.log2(p);
    return bits;
  }

  function norm(values, start = 0, length = values.length) {
    return Math.sqrt(dot(values, start, values, start, length));
  }

  /** The value of every 16-bit pattern, so that half precision is one look-up. */
  function halfTable() {
    const table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const sign = bits & 0x8000 ? -1 : 1;
      const exponent = (bits >> 10) & 31, fraction = bits & 1023;
      if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
      else if (exponent === 31) table[bits] = fraction ? NaN : sign * Infinity;
      else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    }
    return table;
  }

  Object.assign(Page, {
    linear, fourOutputs, dot, add, layerNorm, erf, gelu, softmax, largest, entropy, norm, halfTable,
  });
});
