# SPDX-License-Identifier: GPL-2.0-only
"""The names of a suite's cases, as its sources tell them: nothing is built or run.

Where a name is put together while the suite runs, what is not known of it is a "*"; only a
run tells the rest.
"""

import ast
import re

from harness.suites import TREE

# Suites of several files, each function test_NAME of which is a case file.NAME.
_FILES = {"oracle/oracle": "tests/*.py", "userspace/tests": "test_*.py"}

_OF_C = re.compile(r"^CASE\((\w+)\)", re.MULTILINE)
_SUITE_OF_C = re.compile(r'^SUITE\("(\w+)"\)', re.MULTILINE)
_OF_SHELL = re.compile(r"^ktap_run((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)


def _names(node, texts, functions):
    """What a case that is registered under this expression may be called."""
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        first, *rest = node.values
        tail = "".join(part.value if isinstance(part, ast.Constant) else "*" for part in rest)
        if isinstance(first, ast.Constant):
            return [first.value + tail]
        if ast.unparse(first.value).endswith(".__name__"):
            return [function + tail for function in functions]
        return ["*" + tail]
    # A variable is one of the file's texts; anything else comes from anywhere.
    return texts if isinstance(node, ast.Name) else ["*"]


def _of_python(source):
    """What ktap.case decorates, or ktap.add() is given."""
    nodes = list(ast.walk(ast.parse(source)))
    texts = [node.value for node in nodes
             if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            if "ktap.case" in map(ast.unparse, node.decorator_list):
                yield node.name
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "ktap.add":
            yield from _names(node.args[0], texts, functions)


def _of_functions(path):
    """The functions of one of several files."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield f"{path.stem.removeprefix('test_')}.{node.name.removeprefix('test_')}"


def declared(suite, tree=TREE):
    """A set of names."""
    path = tree / suite.path.relative_to(TREE)
    if suite.name in _FILES:
        return {name for file in path.parent.glob(_FILES[suite.name])
                for name in _of_functions(file)}
    if suite.name.startswith("unit"):
        text = (tree / "selftests/unit" / f"{path.name}.c").read_text(encoding="utf-8")
        return {f"{_SUITE_OF_C.search(text)[1]}.{name}" for name in _OF_C.findall(text)}
    text = path.read_text(encoding="utf-8")
    if "python" in text.partition("\n")[0]:
        return set(_of_python(text))
    return {name if name.isidentifier() else "*" for names in _OF_SHELL.findall(text)
            for name in names.replace("\\\n", " ").split()}
