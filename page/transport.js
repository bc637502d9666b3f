// The bar of a film: play, pause, any moment of the training, over its curve of losses.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg } = Page;
  const FRAMES_A_SECOND = 5;
  const SPEEDS = [1, 2, 4, 0.5];
  const REST = 400; // ms without a new frame, after which the slow figures compute, too
  const bar = { playing: false, speed: 0, timer: 0, turn: 0 };

  function mountTransport(root, state) {
    bar.state = state;
    bar.root = root;
    bar.play = element("button", { type: "button", class: "action", onclick: () => (bar.playing ? pause() : play()) });
    bar.slider = element("input", { type: "range", min: 0, step: 1, "aria-label": "Moment of the training" });
    bar.slider.addEventListener("input", () => { pause(); show(Number(bar.slider.value)); });
    bar.curve = svg("svg", { class: "film-curve", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.pace = element("button", { type: "button", class: "action", onclick: faster });
    bar.told = element("span", { class: "film-told" }); // the slider says the same to who cannot see it
    root.append(bar.play, element("div", { class: "film-track", title: "grey: training loss; in colour: validation loss" }, bar.curve, bar.slider), bar.told, bar.pace);
    label();
  }

  function renderTransport(state, change) {
    const { film, frame } = state;
    if (change !== "model" && change !== "frame") return;
    bar.root.hidden = !film;
    if (change === "model") stop();
    if (!film) return;
    if (change === "model") {
      bar.slider.max = film.last;
      drawCurve(film);
    }
    const loss = film.lossAt(frame), told = `step ${film.steps[frame].toLocaleString("en-US")} of ${film.steps[film.last].toLocaleString("en-US")}`
      + (loss === null ? "" : `, validation loss ${loss.toFixed(2)} nats per token`);
    bar.slider.value = frame;
    bar.slider.setAttribute("aria-valuetext", told);
    bar.told.textContent = told;
  }

  /** Losses over the frames; what is above the top of the picture is the very beginning. */
  function drawCurve(film) {
    const train = film.train.filter(([, loss]) => loss !== null).map(([step, loss]) => [step, loss]);
    const losses = [...train, ...film.validation].map(([, loss]) => loss), low = Math.min(...losses), high = Math.max(...losses);
    const points = (rows) => rows.map(([step, loss]) =>
      `${((100 * film.place(step)) / film.last).toFixed(2)},${(95 - (90 * (loss - low)) / (high - low || 1)).toFixed(2)}`).join(" ");
    bar.curve.replaceChildren(
      svg("polyline", { class: "curve", points: points(train), stroke: "var(--neutral)" }),
      svg("polyline", { class: "curve", points: points(film.validation), stroke: "var(--probability)" }));
  }

  function show(frame) {
    clearTimeout(bar.timer);
    bar.state.showFrame(frame);
    if (!bar.playing) bar.timer = setTimeout(() => bar.state.announce("rest"), REST);
  }

  /** From here, or from the beginning once more. Frames are left out where drawing takes longer. */
  function play() {
    const { state } = bar, { film } = state, from = state.frame === film.last ? 0 : state.frame;
    const turn = ++bar.turn;
    let start = null;
    clearTimeout(bar.timer);
    bar.playing = true;
    label();
    const tick = (now) => {
      if (turn !== bar.turn || !bar.playing || state.film !== film) return;
      start ??= now;
      const frame = Math.min(film.last, from + Math.floor(((now - start) / 1000) * FRAMES_A_SECOND * SPEEDS[bar.speed]));
      if (frame === film.last) return void pause(frame);
      if (frame !== state.frame) show(frame);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  function pause(frame = bar.state.frame) {
    const was = bar.playing;
    stop();
    if (was) show(frame); // and rest
  }

  function stop() {
    clearTimeout(bar.timer);
    bar.playing = false;
    label();
  }

  function faster() {
    bar.speed = (bar.speed + 1) % SPEEDS.length;
    const was = bar.playing;
    pause();
    if (was) play();
    label();
  }

  function label() {
    bar.play.textContent = bar.playing ? "Pause" : "Play";
    bar.pace.textContent = `Speed ${SPEEDS[bar.speed] === 0.5 ? "½" : SPEEDS[bar.speed]}×`;
  }

  /** The film that comes with the page: a script of 3 MB, fetched when it is asked for. */
  function loadShippedFilm(done, failed) {
    if (Page.filmData) return done(Page.filmData);
    policy ??= window.trustedTypes?.createPolicy("film", { createScriptURL: () => ADDRESS });
    const script = element("script");
    script.src = policy ? policy.createScriptURL("") : ADDRESS;
    script.addEventListener("load", () => done(Page.filmData));
    script.addEventListener("error", failed);
    document.head.append(script);
    return undefined;
  }
  const ADDRESS = "page/film.data.js";
  let policy = null;

  /** The film of which a figure shows all moments, at one of them. */
  function seekFilm(frame) {
    pause();
    show(frame);
  }

  Object.assign(Page, { mountTransport, renderTransport, loadShippedFilm, seekFilm });
})();
