"""The file that a learner starts from: the solution without its bodies.

Kept are the text at the top, imports, constants, signatures and docstrings. Every body is one line:
`raise NotImplementedError`. Names that begin with "_" are the solution's own and left out.
"""

import ast


def skeleton(solution: str) -> str:
    """
    >>> print(skeleton('def f(x):\\n    "Twice x."\\n    # so it is\\n    return 2 * x'), end="")
    def f(x):
        "Twice x."
        raise NotImplementedError
    """
    lines = solution.splitlines()
    kept: list[str] = []
    done = 0  # lines of the solution
    for first, last, replacement in _cuts(ast.parse(solution), lines):
        kept += [*lines[done : first - 1], *replacement]
        done = last
    text = "\n".join([*kept, *lines[done:]]).rstrip() + "\n"
    while "\n\n\n\n" in text:
        text = text.replace("\n\n\n\n", "\n\n\n")
    return text


def _cuts(tree: ast.Module | ast.ClassDef, lines: list[str]) -> list[tuple[int, int, list[str]]]:
    """(first line, last line, what is there instead), from the top down."""
    cuts = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            cuts += _cuts(node, lines)
        if not isinstance(node, ast.FunctionDef):
            continue
        last = node.end_lineno or node.lineno
        if node.name.startswith("_") and not node.name.startswith("__"):
            cuts.append((min([node.lineno, *(d.lineno for d in node.decorator_list)]), last, []))
        else:
            body = " " * (node.col_offset + 4) + "raise NotImplementedError"
            cuts.append((_end_of_head(node, lines) + 1, last, [body]))
    return cuts


def _end_of_head(node: ast.FunctionDef, lines: list[str]) -> int:
    """The last line of the docstring, or of the signature."""
    if ast.get_docstring(node) is not None:
        return node.body[0].end_lineno or node.lineno
    ends = [argument.end_lineno or 0 for argument in (*node.args.args, *node.args.kwonlyargs)]
    last = max(node.lineno, *ends, (node.returns and node.returns.end_lineno) or 0)
    while not lines[last - 1].split("#")[0].rstrip().endswith(":"):
        last += 1
    return last
