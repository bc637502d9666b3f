// Matrices in half precision: 16 bits a number, so that a large model fits. A product reads each
// number through a table of all 65,536 patterns, which the processor's cache holds.
//
//   float16    1 sign, 5 exponent, 10 fraction bits: error ≤ 2⁻¹¹ of the number, up to 65,504
//   bfloat16   1 sign, 8 exponent,  7 fraction bits: error ≤ 2⁻⁸, the upper half of a float32
//
// A file's 16 bits are kept as they are. Its 32 bits are rounded to float16: weights are far below
// its largest number, so the eight times smaller error costs nothing.
"use strict";
Page.shared((Page) => {
  const { fourOutputs, dot } = Page;
  const tables = {};

  /** The value of every 16-bit pattern. */
  function tableOf(dtype) {
    return (tables[dtype] ??= dtype === "BF16" ? bfloatTable() : Page.halfTable());
  }

  function bfloatTable() {
    const words = Uint32Array.from({ length: 65536 }, (_, bits) => bits << 16);
    return new Float32Array(words.buffer);
  }

  /** As much of a Float32Array as the model uses; subarray gives the numbers themselves. */
  class HalfMatrix {
    /** bits: Uint16Array; dtype: "F16" or "BF16". */
    constructor(bits, dtype) {
      Object.assign(this, { bits, table: tableOf(dtype), length: bits.length });
    }

    subarray(from, to) {
      return decodeInto(new Float32Array(to - from), this, from);
    }

    /** As numbers.js: x (rows, inputs) · thisᵀ + bias. The same additions in the same order. */
    linear(x, rows, bias, inputs, outputs) {
      const out = new Float32Array(rows * outputs), whole = outputs - (outputs % 4);
      const four = new Float32Array(4 * inputs);
      for (let o = 0; o < whole; o += 4) {
        if (rows === 1) fourLookedUp(x, this, bias, inputs, o, out);
        else fourOutputs(x, rows, decodeInto(four, this, o * inputs), 0, bias, inputs, outputs, o, out);
      }
      for (let o = whole; o < outputs; o++) {
        const row = this.subarray(o * inputs, (o + 1) * inputs);
        for (let r = 0; r < rows; r++) out[r * outputs + o] = dot(x, r * inputs, row, 0, inputs) + (bias ? bias[o] : 0);
      }
      return out;
    }
  }

  function decodeInto(out, { bits, table }, from) {
    for (let i = 0; i < out.length; i++) out[i] = table[bits[from + i]];
    return out;
  }

  /** For a single row it is faster to look each number up where it is used. */
  function fourLookedUp(x, { bits, table }, bias, inputs, o, out) {
    const w0 = o * inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs;
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0; i < inputs; i++) {
      const value = x[i];
      a += value * table[bits[w0 + i]];
      b += value * table[bits[w1 + i]];
      c += value * table[bits[w2 + i]];
      d += value * table[bits[w3 + i]];
    }
    out[o] = a + (bias ? bias[o] : 0);
    out[o + 1] = b + (bias ? bias[o + 1] : 0);
    out[o + 2] = c + (bias ? bias[o + 2] : 0);
    out[o + 3] = d + (bias ? bias[o + 3] : 0);
  }

  /** Float32Array -> float16 patterns in `out` from `at` on, to nearest, ties to even. Returns the
   *  first number that is too large or not finite; undefined if there is none. */
  function roundToHalf(values, out, at) {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < values.length; i++) {
      const size = words[i] & 0x7fffffff, sign = (words[i] >>> 16) & 0x8000;
      if (size >= 0x477ff000) return values[i]; // 65,520 and above would become infinite
      out[at + i] = sign | (size < 0x38800000
        ? Math.fround(Math.abs(values[i]) + 0.5) * 2 ** 24 - 2 ** 23 // below 2⁻¹⁴: multiples of 2⁻²⁴
        : (size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
    }
    return undefined;
  }

  Object.assign(Page, { HalfMatrix, roundToHalf });
});
