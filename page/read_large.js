// The numbers of a large file, read a slice at a time, so that it is never in memory as a whole:
// matrices become half precision (half.js), vectors and single numbers stay in 32 bits.
"use strict";
Page.shared((Page) => {
  const { refuse, quoteValue } = Page;
  const SLICE = 2 ** 24; // bytes
  const INFINITE = { F16: 0x7c00, BF16: 0x7f80 }; // the exponent of infinity and NaN

  /** file: File; entries, dataStart: of its checked header -> Map name -> {shape, data}. */
  async function readTensors(file, { entries, dataStart }, onProgress) {
    const tensors = new Map();
    for (const [name, entry] of entries) {
      const bytes = (from, to) => file.slice(dataStart + from, dataStart + to).arrayBuffer();
      const share = (at) => onProgress({ share: (dataStart + at) / file.size });
      const read = entry.shape.length < 2 ? readVector : readMatrix;
      tensors.set(name, { shape: entry.shape, data: await read(name, entry, bytes, share) });
    }
    return tensors;
  }

  async function readVector(name, { dtype, begin, end }, bytes) {
    const data = Page.safetensors.decode(dtype, await bytes(begin, end));
    if (!data.every(Number.isFinite)) Page.safetensors.refuseInfinite(name);
    return data;
  }

  async function readMatrix(name, { dtype, shape, begin, end }, bytes, share) {
    const bits = new Uint16Array(shape.reduce((a, b) => a * b)), size = dtype === "F32" ? 4 : 2;
    for (let from = begin; from < end; from += SLICE) {
      const slice = await bytes(from, Math.min(end, from + SLICE)), at = (from - begin) / size;
      if (dtype === "F32") checkRounded(name, Page.roundToHalf(new Float32Array(slice), bits, at));
      else bits.set(checkFinite(name, new Uint16Array(slice), INFINITE[dtype]), at);
      share(from);
    }
    return new Page.HalfMatrix(bits, dtype);
  }

  function checkRounded(name, wrong) {
    if (wrong === undefined) return;
    if (!Number.isFinite(wrong)) Page.safetensors.refuseInfinite(name);
    refuse(`Tensor ${quoteValue(name)} holds ${wrong}; a large model is kept in half precision here, which ends at 65,504.`);
  }

  function checkFinite(name, bits, infinite) {
    for (let i = 0; i < bits.length; i++) if ((bits[i] & infinite) === infinite) Page.safetensors.refuseInfinite(name);
    return bits;
  }

  Object.assign(Page, { readTensors });
});
