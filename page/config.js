// Sizes and variant of a model, as src/transformer/config.py: what a file may claim, and what a
// field that it does not have means.
"use strict";
Page.shared((Page) => {
  const { refuse, quoteValue, isCount } = Page;
  const SIZES = ["vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len"];
  const NOT_USED = ["dropout", "attention"]; // fields that matter in training only
  const LARGEST = 2 ** 24;
  /** The fields of `Variant` with their defaults. */
  const CLASSIC_VARIANT = {
    positions: "sinusoidal", position_scale: 1, rotary_base: 10000, embedding_scale: null, embedding_norm: false,
    tied_embeddings: true, norm: "layer", norm_gain: true, norm_eps: 1e-5, bias: true, feed_forward: "gelu",
    qk_norm: "none", qk_scale: 1.2, n_kv_heads: null, head_size: null, window: null, zero_init: false,
    value_embeddings: false, input_skip: false, logit_softcap: null,
  };
  const CHOICES = {
    positions: ["sinusoidal", "learned", "rotary"], norm: ["layer", "rms"],
    feed_forward: ["gelu", "gelu_tanh", "relu2", "swiglu"], qk_norm: ["none", "plain", "gain"],
  };
  const COUNTS = ["n_kv_heads", "head_size", "window"];

  /** The configuration that a file claims -> one that can be built. Refuses what cannot be. */
  function checkConfig(given) {
    checkNames(given, [...SIZES, ...NOT_USED, "variant"]);
    for (const name of SIZES) {
      const value = given[name];
      if (!isCount(value) || value < 1 || value > LARGEST) impossible(name, value, "a whole number from 1");
    }
    const config = modelConfig(given, checkVariant(given.variant === undefined ? {} : given.variant));
    checkTogether(config);
    return config;
  }

  /** Sizes and variant, with what follows from them. */
  function modelConfig(sizes, variant = {}) {
    const config = Object.fromEntries(SIZES.map((name) => [name, sizes[name]]));
    config.variant = { ...CLASSIC_VARIANT, ...variant };
    config.head_size = config.variant.head_size ?? config.d_model / config.n_heads; // K
    config.n_kv_heads = config.variant.n_kv_heads ?? config.n_heads; // heads of keys and values
    config.embedding_scale = config.variant.embedding_scale ?? Math.sqrt(config.d_model);
    return config;
  }

  /** Whether page/model.js builds it by itself; its two numbers of step 1 may differ. */
  function isClassic(variant) {
    const free = ["position_scale", "embedding_scale"];
    return Object.keys(CLASSIC_VARIANT).every((name) => free.includes(name) || variant[name] === CLASSIC_VARIANT[name]);
  }

  function checkVariant(variant) {
    if (typeof variant !== "object" || variant === null || Array.isArray(variant)) refuse("The configuration's variant is not a JSON object.");
    checkNames(variant, Object.keys(CLASSIC_VARIANT));
    for (const [name, value] of Object.entries(variant)) {
      const usual = CLASSIC_VARIANT[name];
      if (value === null && usual === null) continue;
      if (name in CHOICES) {
        if (!CHOICES[name].includes(value)) impossible(name, value, CHOICES[name].map(quoteValue).join(" or "));
      } else if (typeof usual === "boolean") {
        if (typeof value !== "boolean") impossible(name, value, "true or false");
      } else if (COUNTS.includes(name)) {
        if (!isCount(value) || value < 1) impossible(name, value, "a whole number from 1");
      } else if (!Number.isFinite(value) || value < 0 || (value === 0 && name !== "position_scale")) {
        impossible(name, value, "a number above 0");
      }
    }
    return variant;
  }

  function checkNames(fields, known) {
    for (const name of Object.keys(fields)) {
      if (!known.includes(name)) refuse(`The configuration has a field that this page does not know: ${quoteValue(name)}.`);
    }
  }

  function impossible(name, value, allowed) {
    refuse(`The configuration has ${name} = ${quoteValue(value)}, which cannot be: it must be ${allowed}.`);
  }

  /** What each field allows by itself, and two together do not. */
  function checkTogether({ d_model, n_heads, n_kv_heads, head_size, variant }) {
    if (variant.head_size === null && d_model % n_heads) refuse(`d_model = ${d_model} is not divisible by n_heads = ${n_heads}.`);
    if (variant.positions === "sinusoidal" && d_model % 2) refuse(`d_model = ${d_model} is odd; sinusoidal positions need pairs of columns.`);
    if (variant.positions === "rotary" && head_size % 2) refuse(`head_size = ${head_size} is odd; rotary positions turn pairs of channels.`);
    if (n_heads % n_kv_heads) refuse(`n_heads = ${n_heads} is not divisible by n_kv_heads = ${n_kv_heads}.`);
  }

  Object.assign(Page, { checkConfig, isClassic, variantFields: { CLASSIC_VARIANT, CHOICES } });
});
