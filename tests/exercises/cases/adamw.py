"""AdamW's update: what the judge has to tell apart."""

M = "m = beta1 * m + (1 - beta1) * gradient"
V = "v = beta2 * v + (1 - beta2) * gradient**2"
M_HAT = "m_hat = m / (1 - beta1**step)"
V_HAT = "v_hat = v / (1 - beta2**step)"
ROOT = "(v_hat.sqrt() + eps)"
DECAYED = "decayed = weight - learning_rate * weight_decay * weight"
RETURN = "return decayed - learning_rate * m_hat / (v_hat.sqrt() + eps), m, v"
BUGS = [
    (
        "v_hat = v / (1 - beta2**step)",
        "v_hat = v / (1 - beta2**step) if step < 1000 else v",
        "left out in late steps",
    ),
    (M, "m = beta1 * m + gradient", "`m` is not a mean"),
    (M, "m = beta1 * gradient + (1 - beta1) * m", "β₁ and 1 - β₁"),
    ("beta1, beta2 = betas", "beta2, beta1 = betas", "β₁ and β₂ are in each other's place"),
    ("gradient**2", "gradient", "it should be of its square"),
    ("gradient**2", "m**2", "computed from m²"),
    (M_HAT, "m_hat = m", "`m` is not corrected"),
    (V_HAT, "v_hat = v", "`v` is not corrected"),
    (f"{M_HAT}\n    {V_HAT}", "m_hat, v_hat = m, v", "correction for starting at 0 is missing"),
    ("**step", "**(step - 1)", "counts steps from 0"),
    ("**step", "**(step + 1)", "and step is 1 already"),
    ("**step", "", "not by 1 - βᵗ"),
    (ROOT, "(v_hat + eps).sqrt()", "inside the root"),
    (ROOT, "v_hat.sqrt()", "ε is missing"),
    (ROOT, "(v_hat + eps)", "the root is missing"),
    ("decayed - learning", "decayed + learning", "uphill"),
    (DECAYED, "decayed = weight", "does not decay"),
    (DECAYED, "decayed = weight - weight_decay * weight", "lacks the learning rate"),
    (
        "beta1, beta2 = betas",
        "beta1, beta2 = betas; gradient = gradient + weight_decay * weight; weight_decay = 0",
        "Adam with L2",
    ),
    (
        RETURN,
        f"new = weight - learning_rate * m_hat / {ROOT}\n"
        "    return new * (1 - learning_rate * weight_decay), m, v",
        "the moved weight decays",
    ),
    (RETURN, RETURN.replace("m, v", "m_hat, v_hat"), "`m` is returned corrected"),
    (RETURN, RETURN.replace("m, v", "v, m"), "in each other's place"),
    (RETURN, RETURN.replace(", m, v", ""), "three things"),
    (M, "m = m.mul_(beta1).add_(gradient, alpha=1 - beta1)", "was written into"),
    (M, f"import torch; torch.optim.AdamW([weight]); {M}", "ready-made answer"),
]
RIGHT = [
    """
import torch


def adamw_update(weight, gradient, m, v, step, *, learning_rate, betas, eps, weight_decay):
    m = m.lerp(gradient, 1 - betas[0])
    v = v * betas[1] + gradient * gradient * (1 - betas[1])
    size = learning_rate / (1 - betas[0] ** step)
    root = torch.sqrt(v) / (1 - betas[1] ** step) ** 0.5 + eps
    return (1 - learning_rate * weight_decay) * weight - size * m / root, m, v
""",
    '''
import math

import torch


def adamw_update(w, gradient, m, v, step, *, learning_rate, betas, eps, weight_decay):
    """Number by number."""
    new = []
    for x, g, a, b in zip(*(t.flatten().tolist() for t in (w, gradient, m, v))):
        a = betas[0] * a + (1 - betas[0]) * g
        b = betas[1] * b + (1 - betas[1]) * g * g
        up, down = a / (1 - betas[0] ** step), b / (1 - betas[1] ** step)
        move = up / (math.sqrt(down) + eps) + weight_decay * x
        new.append([x - learning_rate * move, a, b])
    return tuple(torch.tensor(c, dtype=w.dtype).reshape(w.shape) for c in zip(*new))
''',
]
