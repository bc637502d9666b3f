// Byte-level BPE, as src/transformer/data/byte_pair_tokenizer.py: text -> UTF-8 bytes -> pieces -> merges.
// A token's bytes are kept as a string with one character (0 … 255) per byte.
"use strict";
Page.shared((Page) => {
  const { refuse, quoteValue } = Page;

  /** The one split pattern this project uses; a file with another one is refused, so that no
   *  stranger's regular expression ever runs here. */
  const PYTHON_PATTERN = String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s`;
  const W = String.raw`\p{White_Space}`; // Python's \s; that of JavaScript has other characters
  const PIECES = new RegExp(
    String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^${W}\p{L}\p{N}]+|${W}+$|${W}+(?!\P{White_Space})|${W}`,
    "gu",
  );
  const END_OF_TEXT = "<|endoftext|>";
  const MAX_VOCABULARY = 2 ** 18;

  const toBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));
  const fromBinary = (binary) => Uint8Array.from(binary, (c) => c.charCodeAt(0));

  class Tokenizer {
    /** tokens: byte strings by id (the end-of-text id holds null). */
    constructor(tokens, endOfText, name) {
      Object.assign(this, { tokens, endOfText, startOfText: endOfText, name, vocabSize: tokens.length });
      this.ranks = new Map();
      tokens.forEach((token, id) => { if (token !== null) this.ranks.set(token, id); });
    }

    /** Ids of the text; text is never treated as a special token. */
    encode(text) {
      return this.split(text).flatMap((piece) => {
        const bytes = pieceBytes(piece);
        const whole = this.ranks.get(bytes);
        if (whole !== undefined) return [whole];
        const stages = this.merge(bytes);
        return stages.at(-1).parts.map((part) => this.ranks.get(part));
      });
    }

    /** Words with their leading space, numbers, punctuation, white space. */
    split(text) {
      return text.match(PIECES) ?? [];
    }

    /** Which pair of neighbours is merged first: the lowest; undefined if they are none. */
    mergeRank(left, right) {
      return this.ranks.get(left + right);
    }

    /** Merge by merge: [{parts, made}], the first stage all single bytes. */
    merge(bytes) {
      let parts = [...bytes];
      const stages = [{ parts, made: null }];
      for (;;) {
        let best = -1, bestRank = Infinity;
        for (let i = 0; i + 1 < parts.length; i++) {
          const rank = this.mergeRank(parts[i], parts[i + 1]) ?? Infinity;
          if (rank < bestRank) [best, bestRank] = [i, rank];
        }
        if (best < 0) return stages;
        parts = [...parts];
        parts.splice(best, 2, parts[best] + parts[best + 1]);
        stages.push({ parts, made: parts[best] });
      }
    }

    decodeBytes(ids) {
      return fromBinary(ids.map((id) => this.tokens[id] ?? END_OF_TEXT).join(""));
    }

    decode(ids) {
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.decodeBytes(ids));
    }

    /** Begins or ends a text, and is no part of it. */
    isSpecial(id) {
      return id === this.endOfText;
    }

    /** A token as it is printed in a figure. */
    show(id) {
      if (id === this.endOfText) return "⟨end⟩";
      return id in this.tokens ? showBytes(this.tokens[id]) : `#${id}`;
    }

    /** From the "tokenizer" field of a model file, or a saved tokenizer's JSON. */
    static fromMetadata(fields) {
      return Page.finish(Tokenizer.reading(fields));
    }

    /** The same with pauses, where there is much to read. */
    static *reading(fields) {
      const { kind, name, pattern, special_tokens: special } = fields;
      if (kind === "hf") return yield* Page.HfTokenizer.reading(fields);
      if (pattern !== PYTHON_PATTERN) {
        refuse(`The tokenizer splits by a pattern this page does not know: ${quoteValue(pattern)}.`);
      }
      if (typeof special !== "object" || special === null
        || Object.keys(special).join() !== END_OF_TEXT) {
        refuse(`The tokenizer's special tokens must be ${END_OF_TEXT} alone, not ${quoteValue(special)}.`);
      }
      const endOfText = special[END_OF_TEXT];
      const known = kind === "p50k_base" && Page.p50kBase;
      const tokens = known ? expandRanks(Page.p50kBase) : readRanks(fields.ranks, kind);
      if (!Page.isCount(endOfText) || endOfText > tokens.length) {
        refuse(`The end-of-text id ${quoteValue(endOfText)} does not fit ${tokens.length} tokens.`);
      }
      tokens.splice(endOfText, 0, null);
      return new Tokenizer(tokens, endOfText, String(name));
    }
  }

  function pieceBytes(piece) {
    if (piece.length < 4096) return toBytes(piece);
    return Array.from(new TextEncoder().encode(piece), (b) => String.fromCharCode(b)).join("");
  }

  function readRanks(ranks, kind) {
    if (!Array.isArray(ranks)) {
      refuse(`The file does not carry its tokenizer's table (kind ${quoteValue(kind)}).`);
    }
    if (ranks.length > MAX_VOCABULARY) refuse(`A vocabulary of ${ranks.length} tokens is too large.`);
    let tokens;
    try {
      tokens = ranks.map((token) => atob(token));
    } catch {
      refuse("A token in the tokenizer's table is not in base64: the file is damaged.");
    }
    const set = new Set(tokens);
    if (set.size !== tokens.length) refuse("The tokenizer's table holds the same token twice.");
    checkTable(set);
    return tokens;
  }

  /** Any text can be written in it. */
  function checkTable(tokens) {
    if (tokens.has("")) refuse("The tokenizer's table holds an empty token.");
    for (let byte = 0; byte < 256; byte++) {
      if (!tokens.has(String.fromCharCode(byte))) refuse(`The tokenizer's table lacks the byte ${byte}.`);
    }
  }

  /** {bytes, pairs} in base64 -> byte strings by rank: 256 single bytes, then each token as
   *  the two earlier tokens (uint16 each, little-endian) that it joins. */
  function expandRanks({ bytes, pairs }) {
    const tokens = [...atob(bytes)];
    const ids = new Uint16Array(fromBinary(atob(pairs)).buffer);
    for (let i = 0; i < ids.length; i += 2) tokens.push(tokens[ids[i]] + tokens[ids[i + 1]]);
    return tokens;
  }

  /** Bytes for the eye: white space and control characters marked, broken UTF-8 as \xNN. */
  function showBytes(binary) {
    try {
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return showText(decoder.decode(fromBinary(binary)));
    } catch {
      return [...binary].map((c) => {
        const code = c.charCodeAt(0);
        return code > 32 && code < 127 ? c : `\\x${code.toString(16).padStart(2, "0")}`;
      }).join("");
    }
  }

  function showText(text) {
    return text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replace(/[\p{C}\p{Z}]/gu, (c) =>
      `\\u{${c.codePointAt(0).toString(16)}}`);
  }

  Object.assign(Page, { Tokenizer, checkTable, pieceBytes, showBytes, showText, toBytes, largestVocabulary: MAX_VOCABULARY });
});
