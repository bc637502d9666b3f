// A model file -> a model and its tokenizer, with everything checked first. The embedded
// model and a dropped one both come through here.
"use strict";
Page.shared((Page) => {
  const { refuse, quoteValue } = Page;
  const MOST_PARAMETERS = 2e8;

  /** Names and shapes that a configuration implies, as the module's state dict has them. */
  function expectedShapes(config) {
    const { d_model: D, d_ff: F, vocab_size: V, n_heads: H, n_kv_heads, head_size: K, variant } = config;
    const shapes = new Map([["token_embedding.weight", [V, D]]]);
    const linear = (name, weight) => {
      shapes.set(`${name}.weight`, weight);
      if (variant.bias) shapes.set(`${name}.bias`, [weight[0]]);
    };
    const norm = (name) => {
      if (variant.norm_gain) shapes.set(`${name}.weight`, [D]);
      if (variant.norm_gain && variant.norm === "layer" && variant.bias) shapes.set(`${name}.bias`, [D]);
    };
    if (variant.positions === "learned") shapes.set("positions.table.weight", [config.max_seq_len, D]);
    for (let i = 0; i < config.n_layers; i++) {
      const name = `blocks.${i}`;
      norm(`${name}.attention_norm`);
      linear(`${name}.attention.qkv_projection`, [(H + 2 * n_kv_heads) * K, D]);
      linear(`${name}.attention.output_projection`, [D, H * K]);
      norm(`${name}.feed_forward_norm`);
      linear(`${name}.feed_forward.expand`, [F, D]);
      linear(`${name}.feed_forward.contract`, [D, F]);
      for (const [own, shape] of ownShapes(config)) shapes.set(`${name}.${own}`, shape);
    }
    norm("final_norm");
    if (!variant.tied_embeddings) shapes.set("output.weight", [V, D]);
    return shapes;
  }

  /** Tensors of a block that the classic model does not have: [name, shape] each. */
  function ownShapes({ d_model: D, d_ff: F, vocab_size: V, n_kv_heads, head_size: K, variant }) {
    const own = [];
    if (variant.feed_forward === "swiglu") {
      own.push(["feed_forward.gate.weight", [F, D]]);
      if (variant.bias) own.push(["feed_forward.gate.bias", [F]]);
    }
    if (variant.qk_norm === "gain") own.push(["attention.qk_norm.gains.0", [K]], ["attention.qk_norm.gains.1", [K]]);
    if (variant.value_embeddings) {
      own.push(["attention.value_embedding.weight", [V, n_kv_heads * K]], ["attention.value_embedding.share", [1]]);
    }
    if (variant.input_skip) own.push(["keep", [1]], ["skip", [1]]);
    return own;
  }

  function checkTensors(tensors, config) {
    if (config.n_layers > tensors.size) {
      refuse(`${tensors.size} tensors cannot make the ${config.n_layers} blocks of the configuration.`);
    }
    const expected = expectedShapes(config);
    for (const [name, shape] of expected) {
      const found = tensors.get(name);
      if (!found) refuse(`The file lacks the tensor ${name} that its configuration implies.`);
      if (found.shape.join() !== shape.join()) {
        refuse(`Tensor ${name} has shape [${found.shape}], but the configuration implies [${shape}].`);
      }
    }
    for (const name of tensors.keys()) {
      if (!expected.has(name)) refuse(`The file has a tensor the model does not: ${quoteValue(name)}.`);
    }
  }

  /** Which parts a learner wrote: the keys of the object in the field "yours", if there is one. */
  function learnersParts(metadata) {
    return metadata.has("yours") ? Object.keys(Page.safetensors.jsonField(metadata, "yours")) : [];
  }

  /** What a file's header says, without its numbers: {config, step, yours, parameterCount}. tensors:
   *  Map name -> {shape}. Throws Page.FileError with a readable message. */
  function checkHeader(metadata, tensors) {
    const format = metadata.get("format"), version = metadata.get("version");
    if (format === undefined) {
      refuse("It names no format, so it is no model of this project; commands/import_hf.py makes one of GPT-2, Llama, Qwen3 and nanochat models.");
    }
    if (format !== "transformer" || version !== "1") {
      refuse(`The file says format ${quoteValue(format)}, version ${quoteValue(version)}; this page `
        + 'reads "transformer", "1", which this project writes.');
    }
    const config = Page.checkConfig(Page.safetensors.jsonField(metadata, "config"));
    checkTensors(tensors, config);
    const step = /^\d{1,15}$/.test(metadata.get("step") ?? "") ? Number(metadata.get("step")) : null;
    let parameterCount = 0;
    for (const { shape } of tensors.values()) parameterCount += shape.reduce((a, b) => a * b, 1);
    return { config, step, yours: learnersParts(metadata), parameterCount };
  }

  /** `fields` replaces a table that the file does not carry. */
  function* loadTokenizer(metadata, config, fields) {
    const tokenizer = yield* Page.Tokenizer.reading(fields ?? Page.safetensors.jsonField(metadata, "tokenizer"));
    if (tokenizer.vocabSize !== config.vocab_size) {
      refuse(`The tokenizer has ${tokenizer.vocabSize} tokens, the model ${config.vocab_size}: `
        + "they do not belong together.");
    }
    return tokenizer;
  }

  /** ArrayBuffer -> {model, tokenizer, name, step, yours}, at once. */
  function loadModel(buffer, name, tokenizerFields = null) {
    const { metadata, tensors } = Page.safetensors.parse(buffer);
    const { config, step, yours } = checkHeader(metadata, tensors);
    const tokenizer = Page.finish(loadTokenizer(metadata, config, tokenizerFields));
    return { model: Page.buildModel(config, tensors), tokenizer, name, step, yours };
  }

  /** File -> the same; a film (film.js) shows its last frame; a large model comes with its engine, which reads the numbers (engine.js). */
  async function loadFile(file, tokenizerFields, onProgress) {
    const header = await Page.safetensors.readHeader(file), { metadata, entries } = header;
    if (metadata.get("format") === Page.FILM) {
      return Page.inTurns(Page.loadFilm(await file.arrayBuffer(), file.name, tokenizerFields));
    }
    const { config, step, yours, parameterCount } = checkHeader(metadata, entries);
    if (parameterCount <= Page.LARGE) return loadModel(await file.arrayBuffer(), file.name, tokenizerFields);
    if (parameterCount > MOST_PARAMETERS) {
      refuse(`The model has ${Math.round(parameterCount / 1e6)} million parameters; this page runs up to ${MOST_PARAMETERS / 1e6} million.`);
    }
    await Page.breathe();
    const tokenizer = await Page.inTurns(loadTokenizer(metadata, config, tokenizerFields));
    const engine = await Page.WorkerEngine.load(file, header, config, onProgress);
    return { model: engine.model, engine, tokenizer, name: file.name, step, yours };
  }

  /** base64 text -> ArrayBuffer. */
  function fromBase64(text) {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes.buffer;
  }

  Object.assign(Page, { expectedShapes, checkTensors, learnersParts, loadTokenizer, loadModel, loadFile, fromBase64 });
});
