// A model file -> a model and its tokenizer, with everything checked first. The embedded
// model and a dropped one both come through here.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { refuse, quoteValue } = Page;

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

  /** ArrayBuffer -> {model, tokenizer, name, step}. Throws Page.FileError with a readable
   *  message. `tokenizerFields` replaces a table that the file does not carry. */
  function loadModel(buffer, name, tokenizerFields = null) {
    const { metadata, tensors } = Page.safetensors.parse(buffer);
    const format = metadata.get("format"), version = metadata.get("version");
    if (format !== "transformer" || version !== "1") {
      refuse(`The file says format ${quoteValue(format)}, version ${quoteValue(version)}; this page `
        + 'reads "transformer", "1", which this project writes.');
    }
    const config = Page.checkConfig(Page.safetensors.jsonField(metadata, "config"));
    checkTensors(tensors, config);
    const fields = tokenizerFields ?? Page.safetensors.jsonField(metadata, "tokenizer");
    const tokenizer = Page.Tokenizer.fromMetadata(fields);
    if (tokenizer.vocabSize !== config.vocab_size) {
      refuse(`The tokenizer has ${tokenizer.vocabSize} tokens, the model ${config.vocab_size}: `
        + "they do not belong together.");
    }
    const step = /^\d{1,15}$/.test(metadata.get("step") ?? "") ? Number(metadata.get("step")) : null;
    return { model: Page.buildModel(config, tensors), tokenizer, name, step, yours: learnersParts(metadata) };
  }

  /** base64 text -> ArrayBuffer. */
  function fromBase64(text) {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes.buffer;
  }

  /** Let the browser draw and answer before the next piece of long work. */
  const breathe = () => new Promise((resolve) => setTimeout(resolve));

  Object.assign(Page, { expectedShapes, loadModel, fromBase64, breathe });
})();
