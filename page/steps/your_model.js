// Step 10: the reader's own checkpoint, checked before anything is replaced.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, FileError } = Page;
  const NAMES = { vocab_size: "V, vocabulary", d_model: "D, width", n_heads: "H, heads", n_layers: "blocks", d_ff: "F, feed-forward", max_seq_len: "context" };
  const CHECKS = "Passed: header, offsets, shapes, types, finite numbers, configuration, tokenizer.";
  const IN_WORKER = " It is large: its matrices are held in half precision, it computes in a worker, and figures that take it long wait until you ask.";
  const FILM = " It is a film: the slider at the top moves every figure through the training.";
  const figure = { pending: null, turn: 0 };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "drop") });
    const input = element("input", { type: "file", accept: ".safetensors,.json", "aria-label": "Model file or tokenizer file" });
    input.addEventListener("change", () => { take(input.files); input.value = ""; });
    const zone = element("div", { class: "drop-zone" },
      element("p", { text: "Drop model.safetensors here, or choose it:" }), input);
    keep(figure.box, "zone", () => zone);
    acceptDrops(root, zone);
    figure.status = keep(figure.box, "status", () => element("p", { class: "status", role: "status" }));
    Page.button(Page.controls(figure.box), { label: "Back to the model of this page", onClick: backToShipped });
    Page.button(Page.controls(figure.box), { label: "Play the film of a small training", onClick: playShipped });
    figure.table = keep(figure.box, "table", () => element("div", { class: "scroll" }));
  }

  /** Anywhere on the page, but in Step 11, which takes ladders. */
  function acceptDrops(root, zone) {
    const hasFiles = (event) => event.dataTransfer.types.includes("Files"); // text may be dragged into the prompt
    addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      if (event.target.closest?.("#ladder") || root.contains(event.target) || !event.dataTransfer.files.length) return;
      take(event.dataTransfer.files);
      root.scrollIntoView();
    });
    root.addEventListener("dragover", (event) => zone.classList.toggle("over", hasFiles(event)));
    root.addEventListener("dragleave", () => zone.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      zone.classList.remove("over");
      if (hasFiles(event)) take(event.dataTransfer.files);
    });
  }

  function say(text, isError = false) {
    figure.status.textContent = text;
    figure.status.classList.toggle("error", isError);
  }

  /** One file, or a model and its tokenizer.json together. */
  async function take(list) {
    const files = [...list], isTokenizer = (file) => file.name.toLowerCase().endsWith(".json");
    const tokenizer = files.find(isTokenizer), model = files.find((file) => !isTokenizer(file)) ?? figure.pending;
    if (!model) {
      if (tokenizer) say(`${tokenizer.name} is no model. A tokenizer.json goes with one: drop the .safetensors file first. A ladder.json belongs on Step 11.`, true);
      return;
    }
    const turn = ++figure.turn;
    try {
      await load(model, tokenizer, turn);
    } catch (error) {
      if (turn === figure.turn) refuse(model, error);
    }
  }

  async function load(file, tokenizerFile, turn) {
    say(`Reading ${file.name} …`);
    await Page.breathe();
    const fields = tokenizerFile ? await readTokenizer(tokenizerFile) : null;
    const loaded = await Page.loadFile(file, fields, ({ share }) => {
      if (turn === figure.turn) say(`Reading ${file.name}: ${Math.round(100 * share)} % …`);
    });
    if (turn !== figure.turn) return void loaded.engine?.close(); // another file came after it
    figure.pending = null;
    if (loaded.engine) say(`${file.name}: the model reads the prompt …`);
    figure.state.replaceModel(loaded, () =>
      say(`${file.name} is loaded: every figure that runs a model runs it now. ${CHECKS}${loaded.engine ? IN_WORKER : ""}${loaded.film ? FILM : ""}`));
  }

  async function readTokenizer(file) {
    if (file.size > 16 * 2 ** 20) throw new FileError("A tokenizer file of more than 16 MB is not one of this project's.");
    let fields;
    try {
      fields = JSON.parse(await file.text());
    } catch {
      throw new FileError(`${file.name} is not readable JSON; the tokenizer file of a run is its tokenizer.json.`);
    }
    if (typeof fields !== "object" || fields === null) throw new FileError(`${file.name} holds no tokenizer.`);
    return fields;
  }

  /** The old model stays; what went wrong is said in words. */
  function refuse(file, error) {
    const known = error instanceof FileError;
    if (!known) console.warn(error);
    figure.pending = known && /tokenizer/i.test(error.message) ? file : null;
    const reason = known ? error.message : `It could not be read (${error.name}).`;
    const more = figure.pending ? " If the run has a tokenizer.json, drop that too." : "";
    say(`${file.name} was not loaded. ${reason}${more} The previous model is kept.`, true);
  }

  function backToShipped() {
    const { base64, name } = Page.modelData;
    figure.turn++;
    figure.state.replaceModel(Page.loadModel(Page.fromBase64(base64), name));
    say(`Back to ${name}.`);
  }

  async function playShipped() {
    const turn = ++figure.turn;
    say("Fetching the film …");
    try {
      const { base64, name } = await new Promise(Page.loadShippedFilm);
      const loaded = await Page.inTurns(Page.loadFilm(Page.fromBase64(base64), name));
      if (turn === figure.turn) figure.state.replaceModel(loaded, () => say(`${name}: move the slider at the top. Its vocabulary has `
        + `${loaded.model.config.vocab_size} tokens, so its losses per token cannot be compared with those of Step 7.`));
    } catch (error) {
      say(error instanceof FileError ? error.message : "page/film.data.js is missing: export it with commands/export_page.py.", true);
    }
  }

  /** What the model's configuration says differently from the classic one. */
  function describeVariant(variant) {
    const { CLASSIC_VARIANT } = Page.variantFields;
    const different = Object.entries(variant).filter(([name, value]) => value !== CLASSIC_VARIANT[name]);
    return different.map(([name, value]) => `${name} = ${value}`).join(", ") || "classic";
  }

  function render(state, change) {
    if (change !== "model" && change !== "frame") return;
    const { config, parameterCount: count } = state.model;
    const rows = [["name", state.name], ["parameters", count.toLocaleString("en-US")],
      ...Object.entries(NAMES).map(([key, what]) => [`${key} (${what})`, config[key].toLocaleString("en-US")]),
      ["variant", describeVariant(config.variant)],
      ...(state.yours.length ? [["written by you", state.yours.join(", ")]] : []), ["tokenizer", state.tokenizer.name], ["optimiser steps trained", state.step === null ? "unknown" : state.step.toLocaleString("en-US")]];
    figure.table.replaceChildren(element("table", {}, element("tbody", {}, ...rows.map(([key, value]) =>
      element("tr", {}, element("th", { scope: "row", text: key }), element("td", { text: value }))))));
    readout(figure.box, `The page shows ${state.name}: ${count.toLocaleString("en-US")} parameters in ${config.n_layers} blocks of ${config.n_heads} heads.`);
  }

  Page.playShippedFilm = playShipped;
  Page.step("your_model", { mount, render });
})();
