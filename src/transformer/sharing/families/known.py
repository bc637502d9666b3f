"""Which family a published model belongs to, and which one a model of ours can be written as."""

from pathlib import Path

from transformer.config import ModelConfig
from transformer.errors import UserError
from transformer.machine.saved_values import Saved, read_saved
from transformer.sharing.families.family import Family
from transformer.sharing.families.gpt2 import GPT2
from transformer.sharing.families.llama import Llama, NanoChat, Qwen3

FAMILIES: dict[str, Family] = {
    family.model_type: family for family in (GPT2(), Llama(), Qwen3(), NanoChat())
}


def read_family(config: Path) -> tuple[Family, Saved]:
    """The family that a config.json names, and its fields.

    Raises:
        UserError: the file is missing, or names an architecture that we do not have.
    """
    saved = read_saved(config)
    kind = saved.values.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    named = saved.values.get("architectures") or []
    if family is None or (named and not set(map(str, named)) & set(family.architectures)):
        said = f"{kind} ({', '.join(map(str, named))})" if named else kind
        raise UserError(
            f"{config}: the architecture {said} is none that this program can build; it has "
            f"{', '.join(FAMILIES)}"
        )
    return family, saved


def family_for(config: ModelConfig) -> Family:
    """The family that computes exactly what such a model does.

    Raises:
        UserError: there is none; says what the nearest lacks.
    """
    found = {family: family.differences(config) for family in FAMILIES.values()}
    nearest = min(found, key=lambda family: len(found[family]))
    if not found[nearest]:
        return nearest
    raise UserError(
        f"no architecture of {', '.join(FAMILIES)} computes what this model does: the nearest, "
        f"{nearest.model_type}, has no {', '.join(found[nearest])}"
    )
