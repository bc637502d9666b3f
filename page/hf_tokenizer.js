// The tokenizer of an imported model: its tokenizer.json, as the library `tokenizers` reads it
// (src/transformer/data/hf_tokenizer.py), for files of one kind: byte pairs over bytes. Each step
// of such a file that is not known here is refused by name.
//
//   text ─▶ added tokens ─▶ NFC or nothing ─▶ pre-tokenizer: pieces ─▶ bytes ─▶ merges, in the order of their list
"use strict";
Page.shared((Page) => {
  const { refuse, quoteValue, isCount } = Page;
  const S = String.raw`\p{White_Space}`, NOT_S = String.raw`\P{White_Space}`;
  const GPT2 = String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^${S}\p{L}\p{N}]+|${S}+(?!${NOT_S})|${S}+`;

  /** cl100k and those after it, in JavaScript's words: letters may follow one other character, a
   *  number has at most so many digits. (?i:…) becomes both cases; ſ is an s in capitals. */
  const modern = (digits, ends) => String.raw`'(?:[sSſdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+`
    + String.raw`|\p{N}${digits}| ?[^${S}\p{L}\p{N}]+[\r\n]*|${ends}|${S}+(?!${NOT_S})|${S}+`;
  const LINES = String.raw`${S}*[\r\n]+`, LINE = String.raw`${S}*[\r\n]`;

  /** Patterns that are known, as a tokenizer.json has them; no other one ever runs here. */
  const KNOWN = new Map([
    [String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, GPT2],
    [String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, GPT2],
    [String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
      modern("{1,3}", LINES)], // Llama 3
    [String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
      modern("", LINES)], // Qwen 2 and 3
    [String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
      modern("{1,3}", LINE)], // cl100k
    [String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
      modern("{1,2}", LINE)], // nanochat
  ]);
  const SEPARATOR = "\u0100"; // is no byte

  class HfTokenizer extends Page.Tokenizer {
    /** table: byte string -> id; added: [{id, content, special, normalized}]; splits: functions
     *  text -> pieces; form: of String.normalize, null for none. */
    constructor({ name, table, merges, added, splits, form, wholeFirst, endOfText, startOfText }) {
      super(tokensById(table, added), endOfText, name);
      this.addedIds = new Map(added.map(({ id, content }) => [id, content]));
      Object.assign(this, { startOfText, splits, wholeFirst, ranks: table, mergeRanks: merges });
      this.normalize = (text) => (form ? text.normalize(form) : text);
      this.addedBefore = finder(added.filter(({ normalized }) => !normalized), (text) => text);
      this.addedAfter = finder(added.filter(({ normalized }) => normalized), this.normalize);
    }

    encode(text) {
      return this.sections(text.toWellFormed()).flatMap(({ id, text: plain }) => (id === undefined
        ? this.splitPlain(plain).flatMap((piece) => this.encodePiece(Page.pieceBytes(piece))) : [id]));
    }

    encodePiece(bytes) {
      const whole = this.wholeFirst ? this.ranks.get(bytes) : undefined;
      return whole !== undefined ? [whole] : this.merge(bytes).at(-1).parts.map((part) => this.ranks.get(part));
    }

    /** Where the text holds tokens that were added to the table, [{text, id}]: they stand for
     *  themselves. Some are looked for as they are, the others after the text is normalized. */
    sections(text) {
      return this.addedBefore(text).flatMap((section) => (
        section.id === undefined ? this.addedAfter(this.normalize(section.text)) : [section]));
    }

    split(text) {
      return this.sections(text).flatMap(({ id, text: plain }) => (id === undefined ? this.splitPlain(plain) : [plain]));
    }

    splitPlain(text) {
      return this.splits.reduce((pieces, cut) => pieces.flatMap(cut), [text]).filter(Boolean);
    }

    mergeRank(left, right) {
      return this.mergeRanks.get(left + SEPARATOR + right);
    }

    isSpecial(id) {
      return id === this.endOfText || id === this.startOfText;
    }

    show(id) {
      if (id === this.endOfText) return "⟨end⟩";
      if (id === this.startOfText) return "⟨start⟩";
      return this.addedIds.has(id) ? Page.showText(this.addedIds.get(id)) : this.tokens[id] ? super.show(id) : `#${id}`;
    }

    /** From the "tokenizer" field of a model file; pauses between its long parts (turns.js). */
    static *reading({ name, tokenizer: text, end_of_text: endOfText, start_of_text: startOfText }) {
      const file = readFile(text), added = readAdded(file.added_tokens ?? []);
      yield;
      const form = file.normalizer?.type ?? null;
      if (form !== null && form !== "NFC") refuse(`The tokenizer normalizes text in a way this page does not know: ${quoteValue(form)}.`);
      const splits = readSplits(file.pre_tokenizer), { table, merges, wholeFirst } = yield* readModel(file.model);
      const made = new HfTokenizer({ name: String(name), table, merges, added, splits, form, wholeFirst, endOfText, startOfText });
      for (const id of [endOfText, startOfText]) {
        if (!isCount(id) || id >= made.vocabSize) refuse(`The tokenizer begins or ends a text with the id ${quoteValue(id)}, which is not in its table.`);
      }
      return made;
    }
  }

  const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
  const kindOf = (step) => quoteValue(step?.type ?? step);

  function readFile(text) {
    try {
      const file = JSON.parse(text);
      if (typeof file.model === "object" && file.model !== null) return file;
    } catch {
      // said below
    }
    return refuse("The tokenizer's own file (tokenizer.json) is not readable JSON with a model.");
  }

  function readAdded(list) {
    if (!Array.isArray(list)) refuse("The tokenizer's added tokens are not a list.");
    return list.map(({ id, content, special, normalized, lstrip, rstrip, single_word: single }) => {
      if (!isCount(id) || id >= Page.largestVocabulary || typeof content !== "string" || !content) {
        refuse(`The tokenizer has an impossible added token: ${quoteValue({ id, content })}.`);
      }
      if (!special && (lstrip || rstrip || single)) refuse(`The tokenizer's added token ${quoteValue(content)} takes white space or words with it; this page does not know how.`);
      return { id, content, special: Boolean(special), normalized: Boolean(normalized) };
    });
  }

  /** A function that cuts a text at these added tokens. Special ones never appear from text. */
  function finder(added, normalize) {
    const tokens = new Map(added.map(({ id, content, special }) => [normalize(content), special ? undefined : id]));
    const longestFirst = [...tokens.keys()].sort((a, b) => b.length - a.length);
    const pattern = tokens.size ? new RegExp(longestFirst.map(escaped).join("|"), "gu") : /(?!)/g;
    return (text) => {
      const sections = [];
      let from = 0;
      for (const { 0: found, index } of text.matchAll(pattern)) {
        const id = tokens.get(found);
        if (id === undefined) continue;
        sections.push({ text: text.slice(from, index) }, { text: found, id });
        from = index + found.length;
      }
      return [...sections, { text: text.slice(from) }].filter((section) => section.text);
    };
  }

  /** Steps of a pre-tokenizer -> functions from a text to its pieces; the last step is ByteLevel. */
  function readSplits(step) {
    const steps = step?.type === "Sequence" ? step.pretokenizers : [step];
    if (!Array.isArray(steps) || steps.at(-1)?.type !== "ByteLevel") {
      refuse(`The tokenizer's pre-tokenizer is ${kindOf(step)}; this page knows byte-level ones (GPT-2's, Llama 3's, Qwen's).`);
    }
    return steps.map((one) => readSplit(one)).filter(Boolean);
  }

  function readSplit(step) {
    if (step?.type === "ByteLevel") {
      if (step.add_prefix_space) refuse("The tokenizer's pre-tokenizer ByteLevel puts a space before a text; this page does not.");
      return step.use_regex === false ? null : cutting(GPT2);
    }
    if (step?.type === "Digits") return cutting(step.individual_digits ? String.raw`\p{N}` : String.raw`\p{N}+`);
    if (step?.type !== "Split") return refuse(`The tokenizer's pre-tokenizer has the step ${kindOf(step)}, which this page does not know.`);
    const known = KNOWN.get(step.pattern?.Regex), isolates = step.behavior === "Isolated" && !step.invert;
    const removes = step.behavior === "Removed" && step.invert; // keeps what matches: the same, as all does
    if (!known || !(isolates || removes)) refuse(`The tokenizer splits by a pattern this page does not know: ${quoteValue(step.pattern)}, ${quoteValue(step.behavior)}.`);
    return cutting(known);
  }

  /** Each match is a piece, and so is what is between two. */
  function cutting(pattern) {
    const regex = new RegExp(`(${pattern})`, "u");
    return (text) => text.split(regex).filter(Boolean);
  }

  function* readModel(model) {
    if (model.type !== "BPE") refuse(`The tokenizer's model is ${kindOf(model)}; this page knows byte pairs (BPE).`);
    for (const field of ["byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout"]) {
      if (model[field]) refuse(`The tokenizer's model has ${field} = ${quoteValue(model[field])}, which this page does not know.`);
    }
    const { vocab, merges } = model;
    if (typeof vocab !== "object" || vocab === null || !Array.isArray(merges)) refuse("The tokenizer's model has no table and list of merges.");
    const bytesOf = new Map(Object.keys(vocab).map((key) => [key, spelled(key)]));
    yield;
    const table = readTable(Object.entries(vocab), bytesOf);
    yield;
    return { table, merges: yield* readMerges(merges, bytesOf), wholeFirst: Boolean(model.ignore_merges) };
  }

  /** Byte string -> id. A key is written in GPT-2's characters for bytes; others are added tokens. */
  function readTable(entries, bytesOf) {
    if (entries.length > Page.largestVocabulary) refuse(`A vocabulary of ${entries.length} tokens is too large.`);
    const table = new Map();
    for (const [key, id] of entries) {
      if (!isCount(id) || id >= Page.largestVocabulary) refuse(`The tokenizer's token ${quoteValue(key)} has the id ${quoteValue(id)}.`);
      const bytes = bytesOf.get(key);
      if (bytes !== null) table.set(bytes, id);
    }
    Page.checkTable(table);
    if (new Set(table.values()).size !== table.size) refuse("The tokenizer's table holds the same id twice.");
    return table;
  }

  /** Each joins two tokens to a third: "Ġc at", or ["Ġc", "at"]. */
  function* readMerges(list, bytesOf) {
    const ranks = new Map();
    for (const [rank, merge] of list.entries()) {
      if (rank % 4096 === 0) yield;
      const keys = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
      const pair = keys.map((key) => bytesOf.get(key));
      if (pair.length !== 2 || pair.some((bytes) => !bytes) || !bytesOf.get(keys.join(""))) refuse(`The tokenizer has an impossible merge: ${quoteValue(merge)}.`);
      ranks.set(pair.join(SEPARATOR), rank);
    }
    return ranks;
  }

  /** GPT-2's characters: a printable byte is itself, the others follow from 256 on. */
  const BYTES = new Map();
  for (let byte = 0, others = 0; byte < 256; byte++) {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    BYTES.set(String.fromCharCode(printable ? byte : 256 + others++), String.fromCharCode(byte));
  }

  /** "Ġcat" -> " cat" as bytes; null if a character stands for none. */
  function spelled(key) {
    let bytes = "";
    for (const character of String(key)) {
      if (!BYTES.has(character)) return null;
      bytes += BYTES.get(character);
    }
    return bytes;
  }

  /** Byte strings by id; a hole in the table has none. */
  function tokensById(table, added) {
    let size = 0;
    for (const id of [...table.values(), ...added.map((token) => token.id)]) size = Math.max(size, id + 1);
    const tokens = new Array(size).fill("");
    for (const [bytes, id] of table) tokens[id] = bytes;
    for (const { id, content } of added) tokens[id] = Page.pieceBytes(content);
    return tokens;
  }

  Object.assign(Page, { HfTokenizer });
});
