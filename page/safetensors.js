// Reads a .safetensors file that nobody vouches for: 8 bytes with the length of the header,
// a JSON header (name -> dtype, shape, byte range, and "__metadata__"), then the numbers.
// Everything is checked before a single number is used; nothing in the file is ever run.
"use strict";
(() => {
  const Page = (window.Page ??= {});

  /** What is wrong with a file, in words for the person who dropped it. */
  class FileError extends Error {}

  const MAX_BYTES = 128 * 2 ** 20;
  const MAX_HEADER = 16 * 2 ** 20;
  const SIZES = { F32: 4, F16: 2, BF16: 2 };
  const refuse = (message) => { throw new FileError(message); };
  const show = (value) => {
    const text = JSON.stringify(value) ?? String(value);
    return text.length > 60 ? `${text.slice(0, 60)}…` : text;
  };
  const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

  /** buffer -> {metadata, tensors: Map name -> {shape, data: Float32Array}} */
  function parse(buffer) {
    if (buffer.byteLength > MAX_BYTES) {
      refuse(`The file has ${Math.round(buffer.byteLength / 2 ** 20)} MB; this page reads up to 128 MB.`);
    }
    const { header, dataStart } = readHeader(buffer);
    const metadata = checkMetadata(header.get("__metadata__") ?? {});
    header.delete("__metadata__");
    const entries = [...header].map(([name, entry]) => checkEntry(name, entry));
    checkLayout(entries, buffer.byteLength - dataStart);
    const tensors = new Map();
    for (const { name, dtype, shape, begin, end } of entries) {
      const data = decode(dtype, buffer.slice(dataStart + begin, dataStart + end));
      if (!data.every(Number.isFinite)) {
        refuse(`Tensor ${show(name)} holds values that are not finite numbers (NaN or infinity).`);
      }
      tensors.set(name, { shape, data });
    }
    return { metadata, tensors };
  }

  function readHeader(buffer) {
    if (buffer.byteLength < 8) {
      refuse(`The file has ${buffer.byteLength} bytes; a .safetensors file has at least 8.`);
    }
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    if (length > MAX_HEADER || 8 + length > buffer.byteLength) {
      refuse(`The header claims ${length} bytes, but the file has ${buffer.byteLength}: `
        + "it is cut short, or not a .safetensors file.");
    }
    let header;
    try {
      const bytes = new Uint8Array(buffer, 8, length);
      header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch {
      refuse("The header is not readable JSON: the file is damaged, or not a .safetensors file.");
    }
    if (typeof header !== "object" || header === null || Array.isArray(header)) {
      refuse("The header is not a JSON object: this is not a .safetensors file.");
    }
    return { header: new Map(Object.entries(header)), dataStart: 8 + length };
  }

  function checkMetadata(metadata) {
    if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
      refuse("The file's metadata is not a JSON object.");
    }
    const map = new Map(Object.entries(metadata));
    for (const [key, value] of map) {
      if (typeof value !== "string") refuse(`The metadata field ${show(key)} is not text.`);
    }
    return map;
  }

  function checkEntry(name, entry) {
    const { dtype, shape, data_offsets: offsets } = entry ?? {};
    if (!Object.hasOwn(SIZES, dtype)) {
      refuse(`Tensor ${show(name)} has type ${show(dtype)}; this page reads F32, F16 and BF16.`);
    }
    if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) {
      refuse(`Tensor ${show(name)} has an impossible shape: ${show(shape)}.`);
    }
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
      refuse(`Tensor ${show(name)} has impossible offsets: ${show(offsets)}.`);
    }
    const [begin, end] = offsets;
    const bytes = shape.reduce((product, size) => product * size, SIZES[dtype]);
    if (end - begin !== bytes) {
      refuse(`Tensor ${show(name)} needs ${bytes} bytes for shape ${show(shape)}, `
        + `but its offsets span ${end - begin}.`);
    }
    return { name, dtype, shape, begin, end };
  }

  /** The tensors must cover the data exactly: no overlap, no hole, nothing past the end. */
  function checkLayout(entries, dataBytes) {
    const sorted = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
    let reached = 0;
    for (const { name, begin, end } of sorted) {
      if (end > dataBytes) {
        refuse(`Tensor ${show(name)} ends at byte ${end} of ${dataBytes}: the file is cut short.`);
      }
      if (begin < reached) refuse(`Tensor ${show(name)} overlaps the one before it.`);
      if (begin > reached) refuse(`There is a hole of ${begin - reached} bytes before ${show(name)}.`);
      reached = end;
    }
    if (reached !== dataBytes) refuse(`${dataBytes - reached} bytes after the last tensor belong to none.`);
  }

  let halves = null;

  function decode(dtype, bytes) {
    if (dtype === "F32") return new Float32Array(bytes);
    const bits = new Uint16Array(bytes), out = new Float32Array(bits.length);
    if (dtype === "F16") {
      halves ??= Page.halfTable();
      for (let i = 0; i < bits.length; i++) out[i] = halves[bits[i]];
    } else {
      const words = new Uint32Array(out.buffer); // bfloat16 is the upper half of a float32
      for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
    }
    return out;
  }

  /** A JSON object in the metadata, or a readable refusal. */
  function jsonField(metadata, key) {
    let value;
    try {
      value = JSON.parse(metadata.get(key));
    } catch {
      refuse(`The metadata has no readable ${show(key)}; only files written by this project have one.`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      refuse(`The metadata field ${show(key)} is not a JSON object.`);
    }
    return value;
  }

  Object.assign(Page, { FileError, refuse, quoteValue: show, isCount, safetensors: { parse, jsonField, MAX_BYTES } });
})();
