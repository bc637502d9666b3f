// A model file -> a model and its tokenizer, with everything checked first. The embedded
// model and a dropped one both come through here.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { refuse, quoteValue, isCount } = Page;
  const SIZES = ["vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len"];
  const LARGEST = 2 ** 24;
  /** The fields of `Variant` in src/transformer/config.py, with their defaults. */
  const CLASSIC = {
    positions: "sinusoidal", position_scale: 1, rotary_base: 10000, embedding_scale: null, embedding_norm: false,
    tied_embeddings: true, norm: "layer", norm_gain: true, norm_eps: 1e-5, bias: true, feed_forward: "gelu",
    qk_norm: "none", qk_scale: 1.2, n_kv_heads: null, head_size: null, window: null, zero_init: false,
    value_embeddings: false, input_skip: false, logit_softcap: null,
  };

  /** Names and shapes that a configuration implies, as the module's state dict has them. */
  function expectedShapes(config) {
    const { d_model: D, d_ff: F, vocab_size: V } = config;
    const shapes = new Map([["token_embedding.weight", [V, D]]]);
    const pair = (name, weight) => {
      shapes.set(`${name}.weight`, weight).set(`${name}.bias`, [weight[0]]);
    };
    for (let i = 0; i < config.n_layers; i++) {
      pair(`blocks.${i}.attention_norm`, [D]);
      pair(`blocks.${i}.attention.qkv_projection`, [3 * D, D]);
      pair(`blocks.${i}.attention.output_projection`, [D, D]);
      pair(`blocks.${i}.feed_forward_norm`, [D]);
      pair(`blocks.${i}.feed_forward.expand`, [F, D]);
      pair(`blocks.${i}.feed_forward.contract`, [D, F]);
    }
    pair("final_norm", [D]);
    return shapes;
  }

  function checkConfig(config, tensorCount) {
    for (const name of SIZES) {
      const value = config[name];
      if (!isCount(value) || value < 1 || value > LARGEST) {
        refuse(`The configuration has ${name} = ${quoteValue(value)}, which cannot be.`);
      }
    }
    for (const [field, value] of Object.entries(config.variant ?? {})) {
      if (value !== CLASSIC[field]) {
        refuse(`This page runs the classic model only, and the file's has ${field} = ${quoteValue(value)}.`);
      }
    }
    const { d_model, n_heads, n_layers } = config;
    if (d_model % n_heads) refuse(`d_model = ${d_model} is not divisible by n_heads = ${n_heads}.`);
    if (d_model % 2) refuse(`d_model = ${d_model} is odd; positions need pairs of columns.`);
    if (n_layers > tensorCount) {
      refuse(`${tensorCount} tensors cannot make the ${n_layers} blocks of the configuration.`);
    }
    return Object.fromEntries(SIZES.map((name) => [name, config[name]]));
  }

  function checkTensors(tensors, config) {
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

  /** ArrayBuffer -> {model, tokenizer, name, step}. Throws Page.FileError with a readable
   *  message. `tokenizerFields` replaces a table that the file does not carry. */
  function loadModel(buffer, name, tokenizerFields = null) {
    const { metadata, tensors } = Page.safetensors.parse(buffer);
    const format = metadata.get("format"), version = metadata.get("version");
    if (format !== "transformer" || version !== "1") {
      refuse(`The file says format ${quoteValue(format)}, version ${quoteValue(version)}; this page `
        + 'reads "transformer", "1", which this project writes.');
    }
    const config = checkConfig(Page.safetensors.jsonField(metadata, "config"), tensors.size);
    checkTensors(tensors, config);
    const fields = tokenizerFields ?? Page.safetensors.jsonField(metadata, "tokenizer");
    const tokenizer = Page.Tokenizer.fromMetadata(fields);
    if (tokenizer.vocabSize !== config.vocab_size) {
      refuse(`The tokenizer has ${tokenizer.vocabSize} tokens, the model ${config.vocab_size}: `
        + "they do not belong together.");
    }
    const step = /^\d{1,15}$/.test(metadata.get("step") ?? "") ? Number(metadata.get("step")) : null;
    return { model: new Page.DecoderOnlyTransformer(config, tensors), tokenizer, name, step };
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
