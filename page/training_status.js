// What two loss curves say, by the rule of training_status in src/transformer/training_utils.py.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const WINDOW = 5; // evaluations that a trend is read off
  const FLAT = 0.005; // a curve that moves less than 0.5 % over the window is flat
  const CONVERGED = 1.1; // within 10 % of the best possible loss, where that is known

  const explanations = {
    starting: "too few evaluations to see a trend",
    learning: "validation loss falls: keep going",
    underfitting: "both losses are flat: a larger model, a higher learning rate or more steps may help",
    converged: "both losses are flat, close to the best possible: there is little left to learn",
    memorising: "training falls, validation does not: it begins to learn by heart",
    overfitting: "validation loss rises while training loss does not: the model learns the training text "
      + "by heart; more data, dropout or stopping here would help",
    diverging: "both losses rise: lower the learning rate",
  };

  /** A key of `explanations` for the losses at all evaluations so far; floor: number or null. */
  function trainingStatus(trainLosses, valLosses, floor = null) {
    if (valLosses.length < 3) return "starting";
    const train = trend(trainLosses), val = trend(valLosses);
    if (val > FLAT) return train > FLAT ? "diverging" : "overfitting";
    if (val < -FLAT) return "learning";
    if (train < -FLAT) return "memorising";
    return floor !== null && valLosses.at(-1) <= CONVERGED * floor ? "converged" : "underfitting";
  }

  /** Relative rise of the least-squares line through the last WINDOW values. */
  function trend(losses) {
    const recent = losses.slice(-WINDOW), n = recent.length, middle = (n - 1) / 2;
    const mean = recent.reduce((sum, loss) => sum + loss, 0) / n;
    let above = 0, below = 0;
    recent.forEach((loss, i) => {
      above += (i - middle) * (loss - mean);
      below += (i - middle) ** 2;
    });
    return mean ? ((above / below) * (n - 1)) / mean : 0;
  }

  Object.assign(Page, { trainingStatus, trainingExplanations: explanations });
})();
