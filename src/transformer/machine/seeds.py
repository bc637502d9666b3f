"""What `--seed` may be."""

from transformer.errors import UserError

LARGEST_SEED = 2**63 - 1  # PyTorch takes less than 2^64, and seed + 1, seed + 2, … are used too


def check_seed(seed: int) -> None:
    """
    Raises:
        UserError: a random generator cannot start from `seed`, or not from those after it.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed must be from 0 to {LARGEST_SEED} (2^63 - 1), but is {seed}")
