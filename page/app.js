// Puts the page together: loads the embedded model, mounts the steps, and redraws them
// whenever the prompt, the pinned token, the model, the theme or the width changes.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const find = (id) => document.getElementById(id);

  function start() {
    document.documentElement.classList.add("live");
    const state = (Page.state = new Page.State());
    const data = Page.modelData;
    if (!data) return problem("page/model.data.js is missing, so the figures have no model to show.");
    const link = readLink();
    state.prompt = link.prompt ?? data.prompt ?? find("prompt").value;
    find("prompt").value = state.prompt;
    state.replaceModel(Page.loadModel(Page.fromBase64(data.base64), data.name));
    if (link.pin != null) state.pin(link.pin);
    mountSteps(state);
    mountPromptBar(state);
    mountTheme(state);
    Page.mountTransport(find("transport"), state);
    mountContents();
    state.subscribe((change) => renderAll(state, change));
    renderAll(state, "model");
    watchWidth(state);
    if (link.section) find(link.section)?.scrollIntoView();
    document.documentElement.dataset.ready = "true";
    performance.mark("ready");
  }

  function problem(text) {
    const note = find("message");
    note.textContent = text;
    note.hidden = !text;
  }

  function mountSteps(state) {
    for (const step of Page.steps) guarded(step, () => step.mount(find(step.id), state));
    const observer = new IntersectionObserver((entries) => {
      for (const { target: { id }, isIntersecting } of entries) near[isIntersecting ? "add" : "delete"](id);
      for (const step of behind) if (near.has(step.id)) catchUp(state, step);
    }, { rootMargin: "50% 0%" });
    for (const { id } of Page.steps) observer.observe(find(id));
  }

  // While a film plays, what is near the window is drawn, and the rest when it comes near.
  const near = new Set(), behind = new Set();

  function catchUp(state, step) {
    if (behind.delete(step)) guarded(step, () => step.render(state, "frame"));
  }

  function draw(state, step, change) {
    if (change === "frame" && !near.has(step.id)) return void behind.add(step);
    if (change === "model") behind.delete(step);
    else catchUp(state, step);
    return guarded(step, () => step.render(state, change));
  }

  /** Every step, at once. A prompt that is typed is drawn step by step, what is near the window first,
   *  and the page answers in between: the next letter leaves the rest of this one undrawn. With a large
   *  model all figures are large, so there everything is drawn so. */
  function renderAll(state, change) {
    if (change === "busy") return problem(state.busy);
    problem(state.message);
    renderPromptBar(state);
    Page.renderTransport(state, change);
    if (change === "model") waiting = []; // what was not drawn yet is out of date
    if (change === "prompt") waiting = waiting.filter((one) => one.change === "model");
    waiting.push({ change, steps: [...Page.steps].sort((a, b) => near.has(b.id) - near.has(a.id)) });
    if (state.engine.isLocal && change !== "prompt") while (waiting.length) renderNext(state);
    else if (!drawing) renderInTurns(state);
    return undefined;
  }
  const LITTLE = 120, TURN = 50; // ms of drawing between two breaths, as far as the last time tells: all figures
  const took = new Map(); //        where that is little (a breath costs a paint), or as many as a turn holds
  let waiting = [], drawing = false, rendered = 0;

  async function renderInTurns(state) {
    drawing = true;
    while (waiting.length) {
      await Page.breathe();
      const all = [...took.values()].reduce((sum, ms) => sum + ms, 0);
      const end = performance.now() + (all > LITTLE ? TURN : LITTLE);
      do {
        renderNext(state);
      } while (waiting.length && performance.now() + (took.get(waiting[0].steps[0]) ?? 0) < end);
    }
    drawing = false;
  }

  function renderNext(state) {
    const began = performance.now(), { steps, change } = waiting[0] ?? { steps: [] }, step = steps.shift();
    if (step) {
      draw(state, step, change);
      took.set(step, performance.now() - began);
    }
    if (steps.length || !waiting.length) return;
    waiting.shift();
    Promise.resolve(state.engine.answered?.()).then(() => { document.documentElement.dataset.rendered = String(++rendered); });
  }

  /** One broken figure must not take the others with it. */
  function guarded(step, work) {
    try {
      work();
    } catch (error) {
      console.error(`step ${step.id}:`, error);
    }
  }

  function mountPromptBar(state) {
    const input = find("prompt");
    let waiting = false;
    input.addEventListener("input", () => {
      if (waiting) return; // at most one update per frame
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        state.setPrompt(input.value);
      });
    });
    find("reset").addEventListener("click", () => setPrompt(state, Page.modelData.prompt ?? input.defaultValue));
    find("share").addEventListener("click", () => share(state));
    addEventListener("hashchange", () => follow(state, readLink()));
  }

  function setPrompt(state, text) {
    find("prompt").value = text;
    state.setPrompt(text);
  }

  function renderPromptBar(state) {
    Page.chips(find("prompt-chips"), {
      label: "Tokens of the prompt; press one to pin it",
      tokens: state.shown(),
      pinned: state.pinned,
      onPick: (i) => state.pin(i),
    });
    find("model-name").textContent = state.name;
    fitHeight(find("prompt"));
    const chip = find("prompt-chips").querySelector(".pinned");
    const row = find("prompt-chips").firstChild;
    row.scrollLeft = chip.offsetLeft - row.clientWidth / 2; // never scrolls the page itself
  }

  /** As high as its text, up to three lines. */
  function fitHeight(input) {
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight + 2, 88)}px`;
  }

  /** #section&pin=3&prompt=… : a link to what somebody is looking at. */
  function readLink() {
    const [section, ...pairs] = location.hash.slice(1).split("&");
    const values = new Map(pairs.map((pair) => pair.split("=")));
    const link = { section };
    try {
      if (values.has("prompt")) link.prompt = decodeURIComponent(values.get("prompt")).slice(0, find("prompt").maxLength);
    } catch {
      // a link that was cut short: the prompt stays the usual one
    }
    if (/^\d{1,4}$/.test(values.get("pin") ?? "")) link.pin = Number(values.get("pin"));
    return link;
  }

  /** A link that is opened where the page is open already. */
  function follow(state, { prompt, pin }) {
    if (prompt != null && prompt !== state.prompt) setPrompt(state, prompt);
    if (pin != null && pin !== state.pinned) state.pin(pin);
  }

  function share(state) {
    const section = currentSection() ?? "tokens";
    location.hash = `${section}&pin=${state.pinned}&prompt=${encodeURIComponent(state.prompt)}`;
    find("share").textContent = "Link is in the address bar";
    setTimeout(() => { find("share").textContent = "Link to this view"; }, 2500);
    find(section).scrollIntoView();
  }

  function currentSection() {
    const sections = [...document.querySelectorAll("main > section")];
    return sections.filter((s) => s.getBoundingClientRect().top < innerHeight / 2).at(-1)?.id;
  }

  function mountTheme(state) {
    const button = find("theme");
    const show = () => { button.textContent = Page.isDark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => {
      Page.setTheme(Page.isDark() ? "light" : "dark");
      show();
      state.announce("theme");
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      show();
      state.announce("theme");
    });
    show();
  }

  /** Marks where the reader is, in the contents and in the picture at the top. */
  function mountContents() {
    const links = [...document.querySelectorAll("#contents a, #flow a")];
    const mark = () => {
      const here = currentSection();
      for (const link of links) {
        if (link.hash === `#${here}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    };
    addEventListener("scroll", mark, { passive: true });
    for (const link of links) {
      link.addEventListener("click", () => { find("contents-fold").open = innerWidth >= 1240; });
    }
    find("contents-fold").open = innerWidth >= 1240;
    mark();
  }

  function watchWidth(state) {
    let width = document.documentElement.clientWidth, timer = 0;
    addEventListener("resize", () => {
      if (width === document.documentElement.clientWidth) return;
      width = document.documentElement.clientWidth; // at once: there and back again counts, too
      clearTimeout(timer);
      timer = setTimeout(() => state.announce("resize"), 150);
    });
  }

  Object.assign(Page, { setPrompt });
  start();
})();
