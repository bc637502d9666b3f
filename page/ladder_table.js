// A measured ladder: what commands/ladder.py saves as ladder.json, checked as anything is that a
// reader may drop on the page, and the numbers that its figure shows.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { refuse, quoteValue, isCount } = Page;
  const FORMAT = "ladder 1";
  const MOST_BYTES = 2 ** 20;
  const MOST_RUNGS = 64, MOST_POINTS = 2000;

  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const isAbove = (value) => isNumber(value) && value > 0;
  const isText = (value) => typeof value === "string" && value.length > 0 && value.length <= 60;
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const orNull = (test) => (value) => value === null || test(value);
  const isSpread = (value) => isObject(value) && isNumber(value.mean) && isNumber(value.deviation) && value.deviation >= 0;
  const isCurve = (value) => Array.isArray(value) && value.length >= 2 && value.length <= MOST_POINTS
    && value.every((point) => Array.isArray(point) && point.length === 2 && point.every(isNumber));
  const isWhole = (value) => isCount(value) && value >= 1;

  const WHOLE = "a whole number from 1", SPREAD = "a mean and a deviation";
  const TABLE = { dataset: [isText, "a short text"], tokenizer: [isText, "a short text"], tokens: [isWhole, WHOLE],
    seeds: [isWhole, WHOLE], floor: [orNull(isNumber), "a number or null"] };
  const RUNG = { rung: [isText, "a short text"], factor: [isAbove, "a number above 0"], seeds: [isWhole, WHOLE], loss: [isSpread, SPREAD], tokens: [isWhole, WHOLE],
    gain: [orNull(isSpread), `${SPREAD}, or null`], tokens_to_target: [orNull(isSpread), `${SPREAD}, or null`],
    seconds_per_token: [isAbove, "a number above 0"], parameters: [isWhole, WHOLE],
    peak_mb: [orNull(isAbove), "a number above 0, or null"], curve: [isCurve, "a list of [tokens, loss]"] };

  /** Any value -> the fields that the page uses. Throws Page.FileError. */
  function checkLadder(given) {
    if (!isObject(given)) refuse("It holds no JSON object.");
    if (given.format !== FORMAT) {
      refuse(`Its format is ${quoteValue(given.format ?? null)}; this page reads ${quoteValue(FORMAT)}, the ladder.json of commands/ladder.py.`);
    }
    const table = taken(given, TABLE, "The table"), { rungs } = given;
    if (!Array.isArray(rungs) || !rungs.length || rungs.length > MOST_RUNGS) refuse(`Its rungs are not a list of 1 to ${MOST_RUNGS}.`);
    table.rungs = rungs.map((rung, i) => taken(isObject(rung) ? rung : refuse(`Rung ${i} is not a JSON object.`), RUNG, `Rung ${i}`));
    const names = table.rungs.map(({ rung }) => rung), twice = names.find((name, i) => names.indexOf(name) < i);
    if (twice !== undefined) refuse(`The rung ${quoteValue(twice)} is there twice.`);
    return table;
  }

  function taken(given, fields, where) {
    return Object.fromEntries(Object.entries(fields).map(([name, [test, allowed]]) => {
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      if (!test(value)) refuse(`${where} has ${name} = ${quoteValue(value)}; it must be ${allowed}.`);
      return [name, value];
    }));
  }

  /** File -> the checked table. */
  async function readLadder(file) {
    if (file.size > MOST_BYTES) refuse("It has more than 1 MB; a ladder.json has a few kilobytes.");
    let given;
    try {
      given = JSON.parse(await file.text());
    } catch {
      refuse("It is not readable JSON.");
    }
    return checkLadder(given);
  }

  /** Of one seed nobody knows the spread. */
  const plusMinus = ({ mean, deviation }, seeds) => Page.decimals(mean, 3) + (seeds > 1 ? ` ± ${Page.decimals(deviation, 3)}` : "");

  /** What a gain says, given its spread; `word` is for the bar, `sentence` for the line in words. */
  function verdict({ gain, seeds }) {
    if (gain === null) return { hue: "neutral", word: "", sentence: "All others are measured against it." };
    if (seeds === 1) return { hue: "neutral", word: "one seed", sentence: "With one seed nobody knows how much of that is chance." };
    if (gain.mean > gain.deviation) return { hue: "residual", word: "", sentence: "It lowers the loss by more than the spread between seeds." };
    if (gain.mean < -gain.deviation) return { hue: "warning", word: "worse", sentence: "Here it makes the loss worse, by more than the spread between seeds." };
    return { hue: "neutral", word: "no difference", sentence: "That is no more than the spread between seeds: here it makes no difference that one could rely on." };
  }

  /** How many times fewer tokens, and how many times less time, to the first rung's final loss. */
  function toTarget({ rungs: [first] }, rung) {
    if (rung.tokens_to_target === null || !(rung.tokens_to_target.mean > 0)) return null;
    const tokens = first.tokens / rung.tokens_to_target.mean;
    return { tokens, time: (tokens * first.seconds_per_token) / rung.seconds_per_token };
  }

  Object.assign(Page, { checkLadder, readLadder, plusMinus, verdict, toTarget });
})();
