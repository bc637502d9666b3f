// A film: the weights of one training at many steps, as runs/film.py writes them. Every tensor has
// the frames as its first axis, in half precision; a frame becomes a model when it is shown.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { refuse, quoteValue, isCount } = Page;
  const FILM = "transformer film";

  class Film {
    /** parts: {name, config, tokenizer, yours, steps, train, validation, buffer, entries, dataStart} */
    constructor(parts) {
      Object.assign(this, parts);
    }

    get last() {
      return this.steps.length - 1;
    }

    /** The model as it was after steps[frame]. */
    model(frame) {
      const tensors = new Map();
      for (const [name, { shape, begin }] of this.entries) {
        const inner = shape.slice(1), bytes = 2 * sizeOf(inner), from = this.dataStart + begin + frame * bytes;
        tensors.set(name, { shape: inner, data: Page.safetensors.decode("F16", this.buffer.slice(from, from + bytes)) });
      }
      return Page.buildModel(this.config, tensors);
    }

    /** Where a step lies among the frames: 0 … last. */
    place(step) {
      const { steps, last } = this, after = steps.findIndex((one) => one >= step);
      if (after <= 0) return after === 0 ? 0 : last;
      return after - (steps[after] - step) / (steps[after] - steps[after - 1]);
    }

    /** The validation loss measured last before the frame (or in it); null before the first. */
    lossAt(frame) {
      const until = this.validation.filter(([step]) => step <= this.steps[frame]);
      return until.length ? until.at(-1)[1] : null;
    }
  }

  const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

  /** ArrayBuffer -> what Page.loadModel returns, of the last frame, and {film}. A generator (turns.js). */
  function* loadFilm(buffer, name, tokenizerFields = null) {
    const { metadata, entries, dataStart } = Page.safetensors.headerOf(buffer, buffer.byteLength);
    if (metadata.get("version") !== "1") refuse(`The film has version ${quoteValue(metadata.get("version"))}; this page reads "1".`);
    const config = Page.checkConfig(Page.safetensors.jsonField(metadata, "config"));
    const measured = checkMeasured(Page.safetensors.jsonField(metadata, "film"));
    checkFrames(entries, config, measured.steps.length);
    yield* checkFinite(buffer, entries, dataStart);
    const tokenizer = yield* Page.loadTokenizer(metadata, config, tokenizerFields);
    const yours = Page.learnersParts(metadata);
    const film = new Film({ name, config, tokenizer, yours, ...measured, buffer, entries, dataStart });
    return { film, name, tokenizer, yours, model: film.model(film.last), step: film.steps[film.last] };
  }

  function checkMeasured({ steps, train = [], validation = [] }) {
    const rise = Array.isArray(steps) && steps.length > 1 && steps.every((step, i) => isCount(step) && !(step <= steps[i - 1]));
    if (!rise) refuse(`The film's steps must be growing whole numbers, two or more, but are ${quoteValue(steps)}.`);
    const rows = (list) => Array.isArray(list) && list.every((row) => Array.isArray(row) && row.every((v) => v === null || Number.isFinite(v)));
    if (!rows(train) || !rows(validation)) refuse("The film's measurements are not lists of numbers.");
    return { steps, train, validation: validation.filter(([, loss]) => loss !== null) };
  }

  function checkFrames(entries, config, count) {
    let parameters = 0;
    for (const [name, { dtype, shape }] of entries) {
      if (dtype !== "F16" || shape[0] !== count) refuse(`Tensor ${quoteValue(name)} is not ${count} frames in half precision.`);
      parameters += sizeOf(shape.slice(1));
    }
    Page.checkTensors(new Map([...entries].map(([name, { shape }]) => [name, { shape: shape.slice(1) }])), config);
    if (parameters > Page.LARGE) {
      refuse(`The film's model has ${parameters.toLocaleString("en-US")} parameters; films play up to ${Page.LARGE.toLocaleString("en-US")}.`);
    }
  }

  function* checkFinite(buffer, entries, dataStart) {
    for (const [name, { begin, end }] of entries) {
      const bits = new Uint16Array(buffer.slice(dataStart + begin, dataStart + end));
      for (let i = 0; i < bits.length; i++) if ((bits[i] & 0x7c00) === 0x7c00) Page.safetensors.refuseInfinite(name);
      yield { share: (dataStart + end) / buffer.byteLength };
    }
  }

  Object.assign(Page, { FILM, loadFilm });
})();
