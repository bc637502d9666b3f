"""Rotary positions: what the judge has to tell apart."""

TURNED = "turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)"
HALVES = "first, second = precise[..., : K // 2], precise[..., K // 2 :]"
ANGLES = "angles = places[..., None] * speeds"
BUGS = [
    (TURNED, "turned = precise", "nothing is turned"),
    (
        TURNED,
        "turned = torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)",
        "the other way round",
    ),
    (
        TURNED,
        "turned = torch.cat([first * cos - second * sin, second * cos - first * sin], dim=-1)",
        "both lines have a minus sign",
    ),
    (
        TURNED,
        "first = first * cos - second * sin\n"
        "    turned = torch.cat([first, first * sin + second * cos], dim=-1)",
        "both need the old ones",
    ),
    (
        TURNED,
        "turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1)"
        ".flatten(-2)",
        "a and b come out in turns",
    ),
    (TURNED, "turned = torch.cat([first * cos, second * cos], dim=-1)", "by the cosine only"),
    (
        f"{HALVES}  # (B, H, T, K/2) each\n",
        "turned = torch.view_as_real(torch.view_as_complex(precise.unflatten(-1, (-1, 2))"
        ".contiguous()) * torch.complex(cos, sin)).flatten(-2)\n    return turned.to(x.dtype)\n",
        "neighbours are paired, x_0 with x_1",
    ),
    (
        TURNED,
        "cos, sin = (each.repeat_interleave(2, -1) for each in (cos, sin))\n"
        "    turned = precise * cos + torch.cat([-second, first], dim=-1) * sin",
        "repeated pair by pair",
    ),
    ("dtype=torch.float64) / K", "dtype=torch.float64) / K / 2", "-i / K, not -2i / K"),
    ("dtype=torch.float64) / K", "dtype=torch.float64) / K * 2", "is the 2 there twice"),
    ("base**-exponents", "base**exponents", "the exponent is positive"),
    ("base**-exponents", "10_000.0**-exponents", "`base` is ignored"),
    (
        "cos, sin = angles.cos().to(precise.dtype), angles.sin().to(precise.dtype)",
        "sin, cos = angles.cos().to(precise.dtype), angles.sin().to(precise.dtype)",
        "sine and cosine are swapped",
    ),
    (ANGLES, "angles = (places[..., None] + 1) * speeds", "places count from 1"),
    (ANGLES, "angles = torch.arange(x.size(2))[:, None] * speeds", "Is its place used"),
    (
        ANGLES,
        "angles = (places[..., :1, None] + torch.arange(x.size(2))[:, None]) * speeds",
        "only the first of `places`",
    ),
    ("if places.dim() == 2:", "if False:", "not to head b"),
    (
        ANGLES,
        "places = places[0] if places.dim() == 2 else places\n    " + ANGLES,
        "by the places of the first",
    ),
    (
        "precise = x.to(torch.promote_types(x.dtype, torch.float32))",
        "precise, angles = x, angles.to(x.dtype)",
        "where 4001 is 4000",
    ),
    ("return turned.to(x.dtype)", "return turned", "has not the type of x"),
    (
        "precise = x.to(torch.promote_types(x.dtype, torch.float32))",
        "precise = x.float()",
        "digits are lost",
    ),
    (HALVES, "first, second = precise[..., : K // 2], precise[..., K // 2 :].detach()", "gradient"),
    (
        "    K = x.size(-1)\n",
        "    from transformer.ladder.rotary import rotations\n"
        "    K = x.size(-1)\n    rotations(9, K, base)\n",
        "ready-made answer",
    ),
]
RIGHT = [
    '''
import torch


def rotate(x, places, base=10_000.0):
    """As complex numbers."""
    half = x.shape[-1] // 2
    wide = x.double()
    speed = torch.tensor([base ** (-i / half) for i in range(half)], dtype=torch.float64)
    angles = torch.einsum("...t,k->...tk", places.double(), speed)
    hands = torch.polar(torch.ones_like(angles), angles)
    if hands.dim() == 3:
        hands = hands.unsqueeze(1)
    turned = torch.complex(wide[..., :half], wide[..., half:]) * hands
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)
''',
    '''
import torch


def rotate(x, places, base=10_000.0):
    """With a matrix for each place."""
    B, H, T, K = x.shape
    places = places.expand(B, T)
    wide = torch.promote_types(x.dtype, torch.float32)
    out = torch.zeros(B, H, T, K, dtype=wide)
    for b in range(B):
        for t in range(T):
            matrix = torch.zeros(K, K, dtype=torch.float64)
            for i in range(K // 2):
                angle = places[b, t].double() * base ** (-2 * i / K)
                matrix[i, i] = matrix[i + K // 2, i + K // 2] = angle.cos()
                matrix[i + K // 2, i], matrix[i, i + K // 2] = angle.sin(), -angle.sin()
            out[b, :, t] = x[b, :, t].to(wide) @ matrix.to(wide).T
    return out.to(x.dtype)
''',
]
