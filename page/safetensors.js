// Reads a .safetensors file that nobody vouches for: 8 bytes with the length of the header,
// a JSON header (name -> dtype, shape, byte range, and "__metadata__"), then the numbers.
// Everything is checked before a single number is used; nothing in the file is ever run.
"use strict";
Page.shared((Page) => {

  /** What is wrong with a file, in words for the person who dropped it. */
  class FileError extends Error {}

  const MAX_BYTES = 600 * 2 ** 20;
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
    const { metadata, entries, dataStart } = headerOf(buffer, buffer.byteLength), tensors = new Map();
    for (const [name, { dtype, shape, begin, end }] of entries) {
      const data = decode(dtype, buffer.slice(dataStart + begin, dataStart + end));
      if (!data.every(Number.isFinite)) refuseInfinite(name);
      tensors.set(name, { shape, data });
    }
    return { metadata, tensors };
  }

  function refuseInfinite(name) {
    refuse(`Tensor ${show(name)} holds values that are not finite numbers (NaN or infinity).`);
  }

  /** File -> its header, checked; of the numbers nothing is read. */
  async function readHeader(file) {
    if (file.size > MAX_BYTES) {
      refuse(`The file has ${Math.round(file.size / 2 ** 20)} MB; this page reads up to ${MAX_BYTES / 2 ** 20} MB.`);
    }
    const length = headerLength(await file.slice(0, 8).arrayBuffer(), file.size);
    return headerOf(await file.slice(0, 8 + length).arrayBuffer(), file.size);
  }

  /** {metadata, entries: Map name -> {dtype, shape, begin, end}, dataStart} of a file of `size`
   *  bytes that begins with this buffer. */
  function headerOf(buffer, size) {
    const length = headerLength(buffer, size), header = readJson(new Uint8Array(buffer, 8, length));
    const metadata = checkMetadata(header.get("__metadata__") ?? {});
    header.delete("__metadata__");
    const entries = new Map([...header].map(([name, entry]) => [name, checkEntry(name, entry)]));
    checkLayout(entries, size - 8 - length);
    return { metadata, entries, dataStart: 8 + length };
  }

  function headerLength(buffer, size) {
    if (size < 8) refuse(`The file has ${size} bytes; a .safetensors file has at least 8.`);
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    if (length > MAX_HEADER || 8 + length > size) {
      refuse(`The header claims ${length} bytes, but the file has ${size}: `
        + "it is cut short, or not a .safetensors file.");
    }
    return length;
  }

  function readJson(bytes) {
    let header;
    try {
      header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch {
      refuse("The header is not readable JSON: the file is damaged, or not a .safetensors file.");
    }
    if (typeof header !== "object" || header === null || Array.isArray(header)) {
      refuse("The header is not a JSON object: this is not a .safetensors file.");
    }
    return new Map(Object.entries(header));
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
    return { dtype, shape, begin, end };
  }

  /** The tensors must cover the data exactly: no overlap, no hole, nothing past the end. */
  function checkLayout(entries, dataBytes) {
    const sorted = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
    let reached = 0;
    for (const [name, { begin, end }] of sorted) {
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

  Object.assign(Page, { FileError, refuse, quoteValue: show, isCount, safetensors: { parse, headerOf, readHeader, decode, refuseInfinite, jsonField } });
});
