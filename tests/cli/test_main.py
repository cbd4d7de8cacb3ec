"""The command: its help comes at once and without TensorFlow, errors are one line, and every end has its exit status."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

from keras_actrec.cli import main as cli
from keras_actrec.cli.main import COMMANDS, main, script
from keras_actrec.errors import DatasetError
from keras_actrec.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "keras", "jax", "matplotlib", "mediapipe", "gradio", "onnx", "tf2onnx")


def written(name: str) -> bool:
    """Whether the module of a command is there."""
    return importlib.util.find_spec(COMMANDS[name][0]) is not None


def all_commands() -> list[tuple[str, ...]]:
    """The words of every command, those of groups too."""
    commands: list[tuple[str, ...]] = []
    for name in filter(written, COMMANDS):
        commands.append((name,))
        commands += [(name, inner) for inner in getattr(importlib.import_module(COMMANDS[name][0]), "COMMANDS", ())]
    return commands


def in_a_process(*words, code: str = "import sys; from keras_actrec.cli.main import main; sys.exit(main(sys.argv[1:]))"):
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def command(monkeypatch) -> types.SimpleNamespace:
    """A command "try" with --number N that does what `command.job` says."""
    module = types.ModuleType("tests.cli.a_command")
    module.HELP = "Tries.\n\nMore."
    module.add_arguments = lambda parser: parser.add_argument("--number", type=int, required=True)
    module.run = lambda args: made.job(args)
    made = types.SimpleNamespace(job=lambda args: print(args.number), module=module)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cli, "COMMANDS", {"try": (module.__name__, "tries it")})
    return made


def raises(error: BaseException):
    def job(args):
        raise error

    return job


def test_the_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in text and line in text
    assert main([]) == 0 and capsys.readouterr().out == text


def test_the_entry_point_is_this_function():
    content = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert content["project"]["scripts"]["keras-actrec"] == "keras_actrec.cli.main:main"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"keras_actrec {__version__}\n"


def test_the_help_of_the_command_imports_nothing_but_itself():
    code = "import sys; from keras_actrec.cli.main import main; main(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    done = in_a_process(code=code)
    modules = set(done.stderr.split())
    assert not modules & {*HEAVY, "numpy", "pandas", "cv2", "h5py"} and "keras_actrec.cli.main" in modules
    assert not any(name.startswith("keras_actrec.cli.") for name in modules - {"keras_actrec.cli.main"})


def test_the_help_of_every_command_comes_without_tensorflow():
    code = f"""
import sys
from keras_actrec.cli.main import main
for words in {all_commands()!r}:
    status = main([*words, "--help"])
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    print("status", words, status, heavy)
"""
    done = in_a_process(code=code)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert len(all_commands()) > len(COMMANDS) / 2
    for words in all_commands():
        assert f"status {words} 0 []" in done.stdout
        assert f"usage: keras-actrec {' '.join(words)}" in done.stdout


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_help_has_an_example_and_says_what_comes_out(words, capsys):
    main([*words, "--help"])
    text = capsys.readouterr().out
    examples = text[text.index("\nexample") :].splitlines()
    assert any(line.startswith(f"  keras-actrec {' '.join(words)}") for line in examples)


def test_every_command_of_a_group_has_a_module():
    for name in filter(written, COMMANDS):
        for module, line in getattr(importlib.import_module(COMMANDS[name][0]), "COMMANDS", {}).values():
            inner = importlib.import_module(module)
            assert inner.HELP and inner.add_arguments and inner.run and line


def test_a_command_runs_with_its_arguments(command, capsys):
    assert main(["try", "--number", "3"]) == 0
    assert capsys.readouterr().out == "3\n"
    command.job = lambda args: 1
    assert main(["try", "--number", "3"]) == 1


def test_help_of_a_command(command, capsys):
    assert main(["try", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: keras-actrec try") and "Tries.\n\nMore." in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tri"], "no command 'tri', did you mean try?"),
        (["nothing"], "no command 'nothing'; one of try"),
        (["--number", "3"], "keras-actrec: error: no command"),
        (["try"], "keras-actrec try: error: the following arguments are required: --number"),
        (["try", "--number", "three"], "argument --number: invalid int value: 'three'"),
    ],
)
def test_wrong_arguments_end_with_2(command, words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_an_error_is_one_line_and_ends_with_1(command, capsys):
    command.job = raises(DatasetError("no clip", file="clips.csv", fix="add one"))
    assert main(["try", "--number", "3"]) == 1
    assert capsys.readouterr().err == "error: clips.csv: no clip. Add one\n"


def test_a_fault_of_the_program_keeps_its_traceback(command):
    command.job = raises(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["try", "--number", "3"])


def test_ctrl_c_ends_with_130(command, capsys):
    command.job = raises(KeyboardInterrupt())
    assert main(["try", "--number", "3"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_reader_that_goes_away_ends_it_quietly():
    code = """
import sys, types
from keras_actrec.cli import main as cli
module = types.ModuleType("a_command")
module.HELP, module.add_arguments = "Prints.", lambda parser: None
def run(args):
    for number in range(1000000):
        print(number)
module.run = run
sys.modules["a_command"] = module
cli.COMMANDS = {"print": ("a_command", "prints")}
sys.exit(cli.main(["print"]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 141


def test_another_broken_pipe_is_a_fault(command):
    command.job = raises(BrokenPipeError())
    with pytest.raises(BrokenPipeError):
        main(["try", "--number", "3"])


def test_a_script_is_a_command_by_another_name(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["old_name.py", "--number", "5"])
    assert script(command.module) == 0 and capsys.readouterr().out == "5\n"
    monkeypatch.setattr(sys, "argv", ["old_name.py", "--help"])
    assert script(command.module) == 0 and capsys.readouterr().out.startswith("usage: old_name.py")
    monkeypatch.setattr(sys, "argv", ["old_name.py"])
    assert script(command.module) == 2
