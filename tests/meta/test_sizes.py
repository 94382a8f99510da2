import ast


def test_no_file_has_five_hundred_lines(python_files):
    long = {
        source.name: lines for source in python_files if (lines := len(source.path.read_text().splitlines())) >= 500
    }
    assert long == {}


def test_no_function_has_more_than_sixty_lines(python_files):
    long = [
        f"{source.name}:{node.lineno} {node.name}"
        for source in python_files
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > 60
    ]
    assert long == []


def body_lines(function):
    """Lines from the def to the end, the docstring left out."""
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = function.body[0].end_lineno - function.body[0].lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_there_is_no_room_for_odds_and_ends(package):
    names = {part for source in package for part in source.path.with_suffix("").parts}
    assert names & {"utils", "util", "helpers", "common", "misc"} == set()
