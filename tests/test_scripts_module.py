"""What every script does: its exit status, its one line for an error, and arguments over defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import FrozenInstanceError, dataclass

import pytest

from keras_actrec import errors
from keras_actrec.errors import ActrecError, ConfigError
from keras_actrec.scripts import exit_status, given, tensorflow_script

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ActrecError)]


@dataclass(frozen=True)
class Settings:
    rate: float = 0.5
    epochs: int = 3
    resume: bool = True
    name: str = "paper"
    folder: str | None = None

    def __post_init__(self):
        if self.epochs < 0:
            raise ConfigError("epochs is out of range", found=self.epochs, expected="0 or more")


def raising(error: BaseException):
    def job() -> None:
        print("begun")
        raise error

    return job


# Exit status ------------------------------------------------------------------------------------------------------------------


def test_a_job_that_ends_is_run_once_and_gives_0(capsys):
    calls = []
    assert exit_status(lambda: calls.append("run")) == 0
    assert calls == ["run"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_that_a_user_can_meet_gives_1_and_one_line(capsys, kind):
    error = kind("no clip", file="a.csv", place="line 3", found=0, expected="1", fix="add clips")
    assert exit_status(raising(error)) == 1
    assert capsys.readouterr() == ("begun\n", "error: a.csv, line 3: no clip (found 0, expected 1). Add clips\n")


@pytest.mark.parametrize("error", [ValueError("bad"), OSError("disk"), KeyboardInterrupt(), SystemExit(2)], ids=repr)
def test_other_exceptions_pass_through(capsys, error):
    with pytest.raises(type(error)) as caught:
        exit_status(raising(error))
    assert caught.value is error
    assert capsys.readouterr() == ("begun\n", "")


# Given arguments --------------------------------------------------------------------------------------------------------------


def test_what_is_given_replaces_the_default_and_none_does_not():
    base = Settings(folder="cache")
    assert given(base, rate=0.1, epochs=None, name="tuned", folder=None) == Settings(0.1, 3, True, "tuned", "cache")
    assert base == Settings(folder="cache"), "the configuration itself stays"


def test_nothing_given_is_the_same_configuration():
    assert given(Settings(epochs=7)) == given(Settings(epochs=7), rate=None, resume=None) == Settings(epochs=7)


def test_zero_false_and_empty_values_are_given_ones():
    assert given(Settings(), rate=0.0, epochs=0, resume=False, name="") == Settings(0.0, 0, False, "", None)


def test_the_class_stays_and_checks_its_values():
    made = given(Settings(), epochs=1)
    assert type(made) is Settings
    with pytest.raises(FrozenInstanceError):
        made.epochs = 2
    with pytest.raises(ConfigError, match="epochs is out of range"):
        given(Settings(), epochs=-1)
    with pytest.raises(TypeError, match="epoch"):
        given(Settings(), epoch=1)


# Import -----------------------------------------------------------------------------------------------------------------------


def test_the_module_is_imported_without_tensorflow_and_numpy():
    code = "import sys; sys.modules |= dict.fromkeys(('tensorflow', 'keras', 'numpy')); import keras_actrec.scripts"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Scripts that load TensorFlow -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "inside"), [(None, "2"), ("0", "0")], ids=["silent", "as the environment has it"])
def test_a_script_is_silent_before_its_job_unless_the_environment_says_otherwise(monkeypatch, capsys, before, inside):
    monkeypatch.setenv(LOG_LEVEL, "")
    monkeypatch.delenv(LOG_LEVEL) if before is None else monkeypatch.setenv(LOG_LEVEL, before)
    args, found = Namespace(clips=3), []

    def run(given_args: Namespace) -> None:
        found.append((given_args, os.environ[LOG_LEVEL]))
        raise ConfigError("no clip")

    assert tensorflow_script(lambda: args, run) == 1
    assert found == [(args, inside)] and capsys.readouterr().err == "error: no clip\n"
