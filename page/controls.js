// Sliders, switches, choices and buttons: the browser's own controls, so the keyboard works.
// Each maker appends to a box once and returns {node, value, set(value)}.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element } = Page;
  let groups = 0;

  /** The row that a figure's controls stand in. */
  function controls(box) {
    return Page.keep(box, "controls", () => element("div", { class: "controls" }));
  }

  function slider(box, { label, min, max, step = 1, value, format = String, onInput }) {
    const input = element("input", { type: "range", min, max, step });
    const output = element("output", {});
    const node = element("label", { class: "control" }, element("span", { text: label }), input, output);
    const control = {
      node,
      input,
      get value() { return Number(input.value); },
      set(next) { input.value = next; show(); },
      limit(newMax) { input.max = newMax; show(); },
    };
    const show = () => {
      output.textContent = format(control.value);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => { show(); onInput?.(control.value); });
    control.set(value);
    box.append(node);
    return control;
  }

  function toggle(box, { label, checked = false, onChange }) {
    const input = element("input", { type: "checkbox", role: "switch" });
    const node = element("label", { class: "control switch" }, input, element("span", { text: label }));
    const control = {
      node,
      get value() { return input.checked; },
      set(next) { input.checked = next; },
    };
    input.addEventListener("change", () => onChange?.(input.checked));
    control.set(checked);
    box.append(node);
    return control;
  }

  /** One of several; options: [{value, label}]. set(value) picks, fill(options) replaces. */
  function choice(box, { label, options, value, onChange }) {
    const name = `choice-${groups++}`;
    const node = element("fieldset", { class: "control choice" }, element("legend", { text: label }));
    const row = element("div", { class: "options" });
    const control = {
      node,
      value,
      set(next) {
        control.value = next;
        for (const input of row.querySelectorAll("input")) input.checked = input.given === next;
      },
      fill(next) {
        row.replaceChildren(...next.map((option) => {
          const input = element("input", { type: "radio", name });
          input.given = option.value;
          input.addEventListener("change", () => { control.value = option.value; onChange?.(option.value); });
          return element("label", {}, input, element("span", { text: option.label }));
        }));
        control.set(next.some((option) => option.value === control.value) ? control.value : next[0]?.value);
      },
    };
    control.fill(options);
    node.append(row);
    box.append(node);
    return control;
  }

  function button(box, { label, onClick, kind = "" }) {
    const node = element("button", { type: "button", class: `action ${kind}`, text: label });
    node.addEventListener("click", () => onClick());
    box.append(node);
    return { node, set(text) { node.textContent = text; } };
  }

  Object.assign(Page, { controls, slider, toggle, choice, button });
})();
