"""The patients by number, and every diagnosis that can be given.

`signs` are the numbers of findings.py that a bug moves, and the range in which each of its patients
has them. No patient has all the signs of another's bug: curves.json shows it for three seeds, and a
test for every pair. So each has exactly one right diagnosis, and a wrong one can be refuted with a
number.
"""

from dataclasses import dataclass
from math import inf

from exercises.clinic import inside, outside
from exercises.clinic.patient import Patient

HEALTHY = Patient

Range = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """One bug, and who has it."""

    name: str
    says: str
    """The diagnosis, in a line."""
    complaint: str
    """What its owner says."""
    patient: type[Patient]
    signs: dict[str, Range]
    why: str
    """Told once it is found: how the bug makes what was seen."""
    reads: str


WARD = (
    Case(
        "no-residual",
        "attention's result replaces the stream, it is not added",
        "It learns, but it is behind all others of its size, and its gradients are long.",
        inside.NoResidual,
        {"stream_kept": (0, 0.01)},
        "Without the sum, what a token is reaches the feed-forward layer only through "
        "attention, and the gradient has no way past it: it is more than twice as long as in "
        "health, and the loss ends at 1.33 instead of 1.08. Each further block would be one "
        "more such gate.",
        "src/transformer/block.py",
    ),
    Case(
        "targets-not-shifted",
        "each target is the token that was just read, not the one after it",
        "The loss is nearly 0 after a hundred steps. I am told that it cannot be that low.",
        outside.TargetsNotShifted,
        {"echo": (0.9, 1)},
        "A model that is asked for the token that it has just read need only copy it. The loss "
        "falls far below the best possible, and that alone proves that the answer is in the "
        "question. In a real run, where no best is known, a loss that is suspiciously good is the "
        "same sign.",
        "src/transformer/data/packing.py",
    ),
    Case(
        "rate-rises-again",
        "the learning rate rises again in the second half",
        "After a good beginning it falls behind the others.",
        outside.RateRisesAgain,
        {"rises": (20, inf)},
        "A cosine that is not stopped at its lowest point comes back up: the schedule was given "
        "half the steps that the run has, so the second half climbs back to the peak, and the "
        "run ends where the steps are largest (1.12 instead of 1.08). Draw the learning rate "
        "beside the loss before you look for anything deeper.",
        "src/transformer/training/scheduler.py",
    ),
    Case(
        "heads-joined-wrongly",
        "the heads are joined in another order than they were split",
        "Nobody looks ahead, I have seen the pictures, and the loss is like the others'. "
        "But what it writes falls apart.",
        inside.HeadsJoinedWrongly,
        {"reach": (3, inf), "future_weight": (0, 1e-6), "row_error": (0, 1e-4)},
        "(B, H, T, K) reshaped to (B, T, D) without the transposition puts the results of "
        "different *places* into one vector. Each head looks back only, as its picture says, and "
        "yet the first places receive what later ones have gathered. The shape is right, so "
        "nothing complains. Changing one token and looking at what changes before it finds every "
        "such leak, wherever it is.",
        "src/transformer/attention.py",
    ),
    Case(
        "gains-decay",
        "weight decay pulls at the gains of the norms, too",
        "Nothing is wrong that I could see. My colleague says that I decay too much.",
        outside.GainsDecay,
        {"gains_shrink": (1e-5, 1)},
        "One step with all gradients zero shows who decays. A gain is one number per feature: "
        "pulling it towards 0 prevents nothing, it only shrinks what the next layer reads. In a "
        "run as short as this the loss hardly shows it (1.088 instead of 1.080).",
        "src/transformer/training/optimizer.py",
    ),
    Case(
        "mask-off-by-one",
        "each place sees the next token as well",
        "The best loss that we have ever had! But what it writes is one word, again and again.",
        inside.MaskOffByOne,
        {"reach": (1, 2), "future_weight": (1e-3, 1)},
        "The next token is the answer. The loss falls far below the best possible: a leak, "
        "proven. When it writes there is no next token to read, and it has learned nothing else. "
        "The reach is one place for each block: two blocks, two places.",
        "src/transformer/attention.py",
    ),
    Case(
        "no-end-of-text",
        "end-of-text between the stories is never a target",
        "The loss is fine, I think. It tells its stories without an end.",
        outside.NoEndOfText,
        {"end": (0, 0.1), "echo": (0, 0.5)},
        "What is not scored is not learned: at the end of a story the model gives end-of-text "
        "less than one in ten thousand, a healthy one more than 99 %. The loss is 0.02 higher "
        "for an odd reason: the easiest token of each story does not count any more.",
        "src/transformer/data/toy/source.py",
    ),
    Case(
        "softmax-over-queries",
        "softmax runs over the places that look, not over those that are looked at",
        "It learns better than the others. When it writes, it makes no sense.",
        inside.SoftmaxOverQueries,
        {"row_error": (0.01, inf)},
        "The weights of each *column* sum to 1 and those of a row to anything. It is a leak, too: "
        "how much of a key an early place gets depends on the queries that come after it. Token "
        "by token, with one query, every weight is 1: the model that writes is another one than "
        "the model that was trained.",
        "src/transformer/attention.py",
    ),
    Case(
        "mean-of-means",
        "micro-batches count alike, however many tokens each has",
        "On one machine all is well. With other micro-batches I get other gradients.",
        outside.MeanOfMeans,
        {"split_error": (0.01, inf)},
        "The curves are those of a healthy patient. Stories differ in length, so micro-batches "
        "differ in scored tokens, and the mean of their means is not the mean over tokens; with "
        "micro-batches of eight stories that is little, and split into 7 and 1 the gradient is "
        "another one. Equal data in other portions must give the same gradient, up to rounding.",
        "src/transformer/training_utils.py",
    ),
    Case(
        "no-mask",
        "every place sees the whole text",
        "It predicts better and better. What it writes is over before it begins.",
        inside.NoMask,
        {"reach": (3, inf), "future_weight": (1e-3, 1)},
        "Each place has to find its answer in the text ahead, which takes some learning: the "
        "loss goes on falling where a healthy one's has nearly stopped (0.68 against 1.08 after "
        "500 steps, and the end is not in sight). When it writes, nothing is ahead.",
        "src/transformer/attention.py",
    ),
    Case(
        "positions-late-in-cache",
        "with the KV cache each token is one place too far",
        "Training is as it should be, to the last digit. The text is a bit worse than others'.",
        inside.PositionsLateInTheCache,
        {"cache_error": (0.01, inf), "reach": (0, 0)},
        "Only generation goes through the cache, so no loss can show it. A text read at once "
        "and the same one read token by token must give equal logits; here they differ by 1.7. "
        "It is the one test that every cache needs.",
        "src/transformer/kv_cache.py",
    ),
    Case(
        "untied",
        "the output has a table of its own, not the embedding's",
        "It is even better than the others. The file is larger than I had expected.",
        inside.Untied,
        {"parameters": (200_000, inf)},
        "The table was copied where it should have been shared, so there are V · D parameters "
        "more. The larger model even learns faster here (0.93 against 1.08): it is no disaster, "
        "only not the model that was described, and whoever compares it with others compares "
        "sizes. Counting the parameters finds it at once.",
        "src/transformer/model.py",
    ),
    Case(
        "no-scale",
        "scores are not divided by √K",
        "Its heads look at fewer places than those of others. Does it matter?",
        inside.NoScale,
        {"score_scale": (0.9, 1.1)},
        "Scores four times as large (√16) make softmax sharper: the largest weight of a row is "
        "0.51 on average, and 0.37 in health. With heads this small the loss hardly suffers "
        "(1.087 against 1.080). With heads of 128 the scores would be eleven times as large, "
        "and a softmax that is all but decided passes almost no gradient.",
        "src/transformer/attention.py",
    ),
    Case(
        "dropout-in-evaluation",
        "dropout is still on in evaluation and when it writes",
        "My validation loss is no better than my training loss. That is normal, is it not?",
        outside.DropoutInEvaluation,
        {"twice_change": (1e-6, inf)},
        "In training, dropout sets a tenth of each vector's numbers to 0; in evaluation a "
        "healthy model has all of them and does better than in training (1.08 against 1.11). "
        "This one reads with holes (1.12), and writes with them. Measured twice, a loss must be "
        "the same to the last digit.",
        "src/transformer/evaluation/validation.py",
    ),
    Case(
        "no-positions",
        "no place is marked: positions are never added",
        "As good as the others. I only doubt that it knows where it is.",
        inside.NoPositions,
        {"place_spread": (0, 0.01)},
        "One token again and again looks the same from everywhere: without positions a mean "
        "over equal vectors is that vector. That the loss is as good as a healthy one's is the "
        "mask's doing: what a place may look at says something about where it is (Haviv et al., "
        "2022, found the same in large models).",
        "src/transformer/positional_encoding.py",
    ),
    Case(
        "norm-on-the-bus",
        "the norm is applied to the stream itself, not to the copy that attention reads",
        "Not bad at all. But the vectors that I look into have the wrong sizes.",
        inside.NormOnTheBus,
        {"stream_kept": (0.05, inf), "stream_turned": (1e-4, 1)},
        "Each block now normalises what all earlier ones have written. With two blocks that "
        "costs nothing (1.066 against 1.080). Deep models are another matter: the gradient has "
        "to pass through every norm, which is why pre-norm leaves the stream alone. What a "
        "sublayer adds must be the only thing that changes it.",
        "src/transformer/block.py",
    ),
)
CASES = {case.name: case for case in WARD}
DIAGNOSES = tuple(sorted(CASES))
