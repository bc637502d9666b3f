// What all figures share: one prompt, one pinned token, one model, and what it computed.
"use strict";
(() => {
  const Page = (window.Page ??= {});

  class State {
    constructor() {
      Object.assign(this, { prompt: "", ids: [], pinned: 0, message: "", busy: "", trace: null, engine: null, coming: null });
      Object.assign(this, { model: null, tokenizer: null, name: "", step: null, yours: [], film: null, frame: 0 });
      this.scales = new Map();
      this.listeners = [];
    }

    subscribe(listener) {
      this.listeners.push(listener);
    }

    /** The number of tokens a prompt may have, end-of-text before it included. */
    get capacity() {
      return Page.promptCapacity(this.model);
    }

    setPrompt(text) {
      this.prompt = text;
      this.read("prompt");
    }

    /** The figures follow this token; ignored while the model still reads. */
    pin(position) {
      const pinned = Math.max(0, Math.min(this.ids.length - 1, position)), { trace } = this;
      const move = () => {
        if (trace !== this.trace) return;
        this.pinned = pinned;
        this.announce("pin");
      };
      if (trace.logits(pinned)) return move();
      if (this.busy) return undefined;
      return this.engine.ask("logits", { position: pinned }, { urgent: true, done: (logits) => { trace.logitRows.set(pinned, logits); move(); } });
    }

    /** loaded: what Page.loadModel returned. The old model stays until the new one has read the
     *  prompt; then `done` is called, unless yet another one was loaded meanwhile. */
    replaceModel(loaded, done = () => {}) {
      const engine = loaded.engine ?? new Page.LocalEngine(loaded.model);
      const { model, tokenizer, name, step, yours, film = null } = loaded, old = this.engine;
      this.coming?.close();
      this.coming = engine;
      this.read("model", { model, tokenizer, name, step, yours, engine, film, frame: film?.last ?? 0 }, () => {
        this.coming = null;
        old?.close();
        done();
      });
    }

    /** Another moment of the film: the prompt, the pinned token and what was chosen stay. */
    showFrame(frame) {
      const model = this.film.model(frame);
      this.read("frame", { frame, model, step: this.film.steps[frame], engine: new Page.LocalEngine(model) });
    }

    /** The end of a scale that time must not move: the largest value so far, while a film is loaded. */
    steady(name, value) {
      if (!this.film) return value;
      this.scales.set(name, Math.max(value, this.scales.get(name) ?? value));
      return this.scales.get(name);
    }

    /** Run the model on the prompt, then tell the figures: at once where the model is small. */
    read(change, replaced = {}, done = () => {}) {
      const { tokenizer, model, engine } = { ...this, ...replaced }, { prompt } = this, capacity = Page.promptCapacity(model);
      const all = [tokenizer.startOfText, ...tokenizer.encode(prompt)], ids = all.slice(-capacity);
      const message = all.length <= capacity ? "" : `The prompt has ${all.length} tokens, `
        + `end-of-text included; the model reads the last ${capacity} of them.`;
      const last = ids.length - 1, progress = ({ share }) => this.wait(`The model reads the prompt: ${Math.round(100 * share)} % …`);
      engine.read(ids, [last, Math.max(0, last - 1)], (trace) => {
        if (change !== "frame") this.scales.clear();
        Object.assign(this, replaced, { ids, message, trace, pinned: change === "frame" ? this.pinned : last, busy: "" });
        this.announce(change);
        done();
        if (prompt !== this.prompt) this.read("prompt"); // typed while another model was read in
      }, progress);
    }

    wait(text) {
      this.busy = text;
      this.announce("busy");
    }

    /** The tokens as they are printed. */
    shown() {
      return this.ids.map((id) => this.tokenizer.show(id));
    }

    announce(change) {
      for (const listener of this.listeners) listener(change);
    }
  }

  const steps = [];

  /** Register a step: {mount(root, state), render(state, change)}; root is its <section>. */
  function step(id, { mount, render }) {
    steps.push({ id, mount, render });
  }

  Object.assign(Page, { State, steps, step });
})();
