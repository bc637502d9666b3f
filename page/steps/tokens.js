// Step 0: the prompt in tokens, and one word merged step by step.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  let scrubber, place, seen;

  function mount(root, state) {
    place = Page.slot(root, "merges");
    scrubber = Page.slider(Page.controls(place), {
      label: "Merges done", min: 0, max: 1, value: 1, onInput: () => showMerges(state),
    });
  }

  function render(state, change) {
    if (change === "theme" || change === "resize") return;
    const box = Page.slot(document.getElementById("tokens"), "tokens");
    Page.chips(box, {
      label: "Tokens of the prompt with their ids; press one to pin it",
      tokens: state.shown(), notes: state.ids, pinned: state.pinned, onPick: (i) => state.pin(i),
    });
    Page.readout(box, statistics(state));
    const word = pinnedWord(state);
    if (word !== seen || change === "model") {
      seen = word;
      scrubber.limit(Math.max(1, stages(state).length - 1));
      scrubber.set(stages(state).length - 1);
    }
    showMerges(state);
  }

  function statistics(state) {
    const text = state.ids.filter((id) => !state.tokenizer.isSpecial(id));
    const bytes = state.tokenizer.decodeBytes(text).length;
    const characters = [...state.tokenizer.decode(text)].length;
    if (!text.length) return "The prompt is empty: only the end-of-text token is left, after which a new text begins.";
    return `${characters} characters, ${bytes} bytes, ${text.length} tokens: `
      + `${(characters / text.length).toFixed(2)} characters per token. `
      + `The vocabulary has ${state.tokenizer.vocabSize.toLocaleString("en-US")} tokens.`;
  }

  /** The piece of the prompt (a word with its space, a number, …) that holds the pinned token. */
  function pinnedWord(state) {
    const { tokenizer, ids, pinned } = state;
    const before = ids.slice(0, pinned + 1).filter((id) => !tokenizer.isSpecial(id));
    const text = ids.filter((id) => !tokenizer.isSpecial(id));
    let bytes = tokenizer.decodeBytes(before).length;
    const pieces = tokenizer.split(tokenizer.decode(text));
    for (const piece of pieces) {
      bytes -= Page.toBytes(piece).length;
      if (bytes <= 0) return piece.slice(0, 60);
    }
    return pieces.at(-1)?.slice(0, 60) ?? "";
  }

  const stages = (state) => state.tokenizer.merge(Page.toBytes(pinnedWord(state)));

  function showMerges(state) {
    const all = stages(state), now = all[Math.min(scrubber.value, all.length - 1)];
    const { ranks } = state.tokenizer;
    Page.chips(place, {
      label: "The word after these merges",
      tokens: now.parts.map(Page.showBytes), notes: now.parts.map((part) => ranks.get(part)),
      shade: now.parts.map((part) => (part === now.made ? 0.6 : 0)),
      hue: "probability",
    });
    Page.readout(place, describe(state, all, now));
  }

  function describe(state, all, now) {
    const word = pinnedWord(state);
    if (!word) return "An empty prompt has no word to merge.";
    const start = `“${Page.showText(word)}” is ${all[0].parts.length} bytes. `;
    const step = now.made === null ? "Nothing is merged yet. "
      : `Merge ${all.indexOf(now)} of ${all.length - 1} made ${Page.showBytes(now.made)} (id ${state.tokenizer.ranks.get(now.made)}). `;
    return start + step + spaceMatters(state, word);
  }

  /** The same word with and without its leading space. */
  function spaceMatters({ tokenizer }, word) {
    const bare = word.trimStart();
    if (!/^[\p{L}\p{N}]/u.test(bare)) return "";
    const list = (text) => `[${tokenizer.encode(text).join(", ")}]`;
    return `With a space before it: ${list(` ${bare}`)}; without: ${list(bare)}.`;
  }

  Page.step("tokens", { mount, render });
})();
