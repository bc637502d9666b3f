"""Why this token: the candidates of one step, and what each filter removed."""

from dataclasses import dataclass

from rich.text import Text

from transformer.data.tokenizer import Tokenizer
from transformer.generation import Step


@dataclass(frozen=True)
class Candidate:
    """A token that could have been drawn."""

    token: str
    id: int
    model_probability: float
    """Before any filter."""
    probability: float
    """After all filters; 0 if one of them removed it."""


@dataclass(frozen=True)
class Removal:
    """What one filter took away."""

    filter: str
    tokens: int
    probability: float
    """Their share of the distribution before the filter."""


@dataclass(frozen=True)
class Choice:
    """One drawn token in its context."""

    chosen: Candidate
    candidates: list[Candidate]
    removals: list[Removal]


def explain(step: Step, row: int, tokenizer: Tokenizer, top: int = 5) -> Choice:
    """The `top` tokens that the model found likeliest in `row`, and what was drawn."""
    model = step.stages[0][1][row].softmax(dim=-1)  # (V,)
    final = step.probabilities[row]  # (V,)

    def candidate(token: int) -> Candidate:
        text = tokenizer.decode([token])
        return Candidate(text, token, float(model[token]), float(final[token]))

    best = model.topk(min(top, len(model))).indices.tolist()
    removals = []
    for (_, before), (name, after) in zip(step.stages, step.stages[1:], strict=False):
        removed = before[row].isfinite() & ~after[row].isfinite()
        if removed.any():
            share = float(before[row].softmax(dim=-1)[removed].sum())
            removals.append(Removal(name, int(removed.sum()), share))
    return Choice(candidate(int(step.ids[row])), [candidate(token) for token in best], removals)


def render(choice: Choice) -> Text:
    """One line: the token, its rivals (struck out if a filter removed them), the filters."""
    line = Text(overflow="fold")
    line.append(f"{choice.chosen.token!r:>16} ", style="bold orange3")
    line.append(f"{choice.chosen.probability:6.1%}  ", style="orange3")
    for rival in choice.candidates:
        style = "dim strike" if rival.probability == 0 else "default"
        style = "bold orange3" if rival.id == choice.chosen.id else style
        line.append(f" {rival.token!r}", style=style)
        line.append(f" {rival.model_probability:.1%}", style="dim")
    for removal in choice.removals:
        line.append(f"  {removal.filter}", style="blue")
        line.append(f" -{removal.tokens:,} ({removal.probability:.1%})", style="dim")
    return line
