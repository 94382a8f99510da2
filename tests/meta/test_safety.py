"""What would run or load foreign code is not there, by name and not by review."""

import ast

import pytest

FORBIDDEN_MODULES = {"cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
ONE_LOADER = "autoft/recipe/yaml.py"


def dotted(node):
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
        case _:
            return "?"


def keyword(call, name):
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def is_true(node):
    return isinstance(node, ast.Constant) and node.value is True


def dangers(name, tree):
    for node in ast.walk(tree):
        for module in imported(node):
            if module.split(".")[0] in FORBIDDEN_MODULES:
                yield f"{name}:{node.lineno}: import {module}"
        if isinstance(node, ast.Attribute) and dotted(node.value) == "pickle" and node.attr != "UnpicklingError":
            yield f"{name}:{node.lineno}: pickle.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "pickle":
            yield f"{name}:{node.lineno}: from pickle import"
        if isinstance(node, ast.Call) and (danger := danger_of(node, name)):
            yield f"{name}:{node.lineno}: {danger}"


def imported(node):
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            return [node.module or ""]
        case _:
            return []


def danger_of(call, name):
    called = dotted(call.func)
    if called in FORBIDDEN_CALLS:
        return called
    if called == "torch.load" and not is_true(keyword(call, "weights_only")):
        return "torch.load without weights_only=True"
    if called.endswith(("np.load", "numpy.load")) and is_true(keyword(call, "allow_pickle")):
        return "numpy.load with allow_pickle"
    if called in {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.safe_load"}:
        is_ours = called == "yaml.load" and (name == ONE_LOADER or keyword(call, "Loader") is None)
        return None if is_ours else called
    if is_true(keyword(call, "shell")):
        return "shell=True"
    return None


def test_the_package_and_its_examples_have_no_dangers(python_files):
    checked = [source for source in python_files if not source.name.startswith("tests/")]
    assert [danger for source in checked for danger in dangers(source.name, source.tree)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(x)",
        "from pickle import Unpickler",
        "from joblib import load",
        "eval('1')",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.safe_load(text)",
        "subprocess.run('x', shell=True)",
        "np.load('x', allow_pickle=True)",
        "os.system('x')",
    ],
)
def test_the_check_itself_sees(text):
    assert list(dangers("autoft/x.py", ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\ntry: f()\nexcept pickle.UnpicklingError: pass",
        "torch.load('x', weights_only=True)",
        "model.eval()",
        "re.compile('x')",
        "np.load('x')",
        "yaml.load(path)",
    ],
)
def test_the_check_lets_pass(text):
    assert not list(dangers("autoft/x.py", ast.parse(text)))


def test_pyyaml_is_known_to_one_file_alone(package):
    knowing = {source.name for source in package for _, module in source.imports() if module.split(".")[0] == "yaml"}
    assert knowing == {ONE_LOADER}


def test_only_the_command_line_prints(package):
    printing = {
        f"{source.name}:{node.lineno}"
        for source in package
        if source.room != "cli"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and dotted(node.func) in {"print", "sys.stdout.write", "sys.stderr.write"}
    }
    assert printing == set()


def test_no_global_generator_is_seeded_or_drawn_from(package):
    stateful = {
        f"{source.name}:{node.lineno}: {dotted(node.func)}"
        for source in package
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and dotted(node.func) in STATEFUL
    }
    assert stateful == set()


RAISED_ELSEWHERE = {
    "autoft/tuner/ray_session.py",  # carries the error of a thread to the one that waits for it
    "autoft/tuner/ray_keeper.py",  # and that of a process
    "autoft/tuner/fork_server.py",  # a script's, told as Python tells it
}
STATEFUL = {
    "torch.manual_seed",
    "torch.seed",
    "random.seed",
    "random.random",
    "random.choice",
    "random.shuffle",
    "np.random.seed",
    "np.random.rand",
    "np.random.randn",
    "np.random.permutation",
    "np.random.shuffle",
    "np.random.choice",
}


def swallows_everything(handler):
    """A handler of all errors that does not raise again."""
    broad = handler.type is None or dotted(handler.type) in {"Exception", "BaseException"}
    return broad and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def test_all_errors_are_caught_in_two_places_only_the_trial_and_the_command_line(package):
    broad = {
        source.name
        for source in package
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and swallows_everything(node)
    }
    assert broad == {"autoft/cli/edge.py", "autoft/tuner/worker.py", "autoft/tuner/follower.py"} | RAISED_ELSEWHERE
