// What all figures share: one prompt, one pinned token, one model, and what it computed.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const MOST_TOKENS = 256; // more would not be seen in any figure

  class State {
    constructor() {
      Object.assign(this, { prompt: "", ids: [], pinned: 0, message: "", trace: null });
      Object.assign(this, { model: null, tokenizer: null, name: "", step: null, yours: [] });
      this.listeners = [];
    }

    subscribe(listener) {
      this.listeners.push(listener);
    }

    /** The number of tokens a prompt may have, end-of-text before it included. */
    get capacity() {
      return Math.min(this.model.config.max_seq_len, MOST_TOKENS);
    }

    setPrompt(text) {
      this.prompt = text;
      this.readPrompt();
      this.pinned = this.ids.length - 1;
      this.announce("prompt");
    }

    pin(position) {
      this.pinned = Math.max(0, Math.min(this.ids.length - 1, position));
      this.announce("pin");
    }

    /** loaded: what Page.loadModel returned. */
    replaceModel({ model, tokenizer, name, step, yours }) {
      Object.assign(this, { model, tokenizer, name, step, yours });
      this.trace = new Page.Trace(model, this.capacity);
      this.readPrompt();
      this.pinned = this.ids.length - 1;
      this.announce("model");
    }

    /** Ids as the model was trained to see them: end-of-text, then the text. */
    readPrompt() {
      const all = [this.tokenizer.endOfText, ...this.tokenizer.encode(this.prompt)];
      this.ids = all.slice(-this.capacity);
      this.message = all.length <= this.capacity ? "" : `The prompt has ${all.length} tokens, `
        + `end-of-text included; the model reads the last ${this.capacity} of them.`;
      this.trace.update(this.ids);
    }

    /** The tokens as they are printed, optionally only the first `count`. */
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
