"""A closed stack machine for the pickles of torch.save: it builds dictionaries, strings, numbers and tensors, and runs nothing.

`pickletools` splits a pickle into opcodes. Those that build plain values are carried out; a function or class that is not in
the short list below is refused by its name, whatever the file wants with it.
"""

from __future__ import annotations

import io
import mmap
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_actrec.errors import WeightsError

BFLOAT16 = "bfloat16"  # NumPy has no such type: two bytes that become a float32
_STORAGE_TYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_STORAGES = {f"{room}.{name}": kind for room in ("torch", "torch.cuda") for name, kind in _STORAGE_TYPES.items()}
_DICTIONARY = "collections.OrderedDict"
_TENSORS = {"torch._utils._rebuild_tensor": 4, "torch._utils._rebuild_tensor_v2": 6}  # and how many arguments they need
_PARAMETER = "torch._utils._rebuild_parameter"
_SIZE = "torch.Size"
_KNOWN = frozenset({*_STORAGES, _DICTIONARY, *_TENSORS, _PARAMETER, _SIZE})
WAY_OUT = (
    "load the file where it was made and trust it, and save the tensors alone: torch.save(model.state_dict(), 'weights.pt')"
)
AGAIN = "the file is damaged or was not copied to its end: fetch it again"


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class Storage:
    """A run of values in the file: its key, type and number."""

    key: str
    kind: str
    count: int

    @property
    def item_bytes(self) -> int:
        return 2 if self.kind == BFLOAT16 else np.dtype(self.kind).itemsize


@dataclass(frozen=True)
class View:
    """A part of a storage, as old files have them: `offset` values into it."""

    storage: Storage
    offset: int


@dataclass(frozen=True)
class Tensor:
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK = object()


class Machine:
    """Carries out one pickle.

    Args:
        stream: a binary file at the start of the pickle; `run` leaves it behind the last opcode.
        path: for messages.
        place: for messages.
    """

    def __init__(self, stream: io.BytesIO | mmap.mmap, path: Path, place: str):
        self.path, self.place, self.stream = path, place, stream
        self.stack: list = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> object:
        """The object that the pickle describes, made of built-in types and `Tensor`."""
        try:
            for opcode, argument, position in self._opcodes():
                self.position = position
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
            # A pickle that takes from an empty stack, uses a dictionary as a key, …: never what torch.save writes.
            raise WeightsError(
                f"the pickle makes no sense: {type(error).__name__}: {error}", file=self.path, place=self._here(), fix=AGAIN
            ) from error
        raise WeightsError("the pickle has no end", file=self.path, place=self._here(), fix=AGAIN)

    def _opcodes(self) -> Iterator[tuple[pickletools.OpcodeInfo, object, int]]:
        self.position = self.stream.tell()
        return pickletools.genops(self.stream)

    def _here(self) -> str:
        return f"{self.place}, byte {self.position}"

    def _refuse(self, name: str) -> WeightsError:
        return WeightsError(
            "the file asks for something that no state_dict needs, and it is not run",
            file=self.path,
            place=self._here(),
            found=name,
            expected="tensors, dictionaries, strings and numbers",
            fix=WAY_OUT,
        )

    def _step(self, name: str, argument: object) -> None:
        stack = self.stack
        if name in _NOTHING:
            return
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in _TUPLES:
            stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        elif name in ("TUPLE", "LIST"):
            items = self._pop_to_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = [self._pop()] if name == "APPEND" else self._pop_to_mark()
            self._top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = [self._pop(), self._pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
            if name == "DICT":
                stack.append({})
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                attribute, module = self._pop(), self._pop()
                argument = f"{module} {attribute}"
            stack.append(self._global(argument.replace(" ", ".")))
        elif name == "BINPERSID":
            stack.append(self._persistent(self._pop()))
        elif name == "REDUCE":
            arguments, function = self._pop(), self._pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            # Attributes of an OrderedDict: `_metadata` of a state_dict, versions of modules.
            self._pop()
            self._top(dict)
        else:
            raise self._refuse(f"opcode {name}" if argument is None else f"opcode {name} {argument}")

    def _pop(self) -> object:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def _pop_to_mark(self) -> list:
        items = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def _top(self, kind: type) -> dict | list:
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"{type(self.stack[-1]).__name__} where a {kind.__name__} should be")
        return self.stack[-1]

    def _global(self, name: str) -> _Global:
        if name not in _KNOWN:
            raise self._refuse(name)
        return _Global(name)

    def _persistent(self, content: object) -> Storage | View:
        """("storage", type, key, device, number of values), in old files also (key of the view, offset, number)."""
        if not isinstance(content, tuple) or not content or content[0] != "storage":
            raise self._refuse(f"{content[0] if isinstance(content, tuple) and content else content} as a stored object")
        _, kind, key, _, count, *view = content
        if not isinstance(kind, _Global) or kind.name not in _STORAGES:
            raise self._refuse(f"{kind} as the type of values")
        storage = Storage(str(key), _STORAGES[kind.name], _count(count))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"two descriptions of the values {key}")
        return View(storage, _count(view[0][1])) if view and view[0] is not None else storage

    def _call(self, function: object, arguments: object) -> object:
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise self._refuse(f"a call of {getattr(function, 'name', function)}")
        if function.name == _DICTIONARY:
            return dict(*arguments)
        if function.name == _SIZE:
            return tuple(arguments[0])
        if function.name == _PARAMETER:
            if not isinstance(arguments[0], Tensor):
                raise TypeError("a parameter without tensor")
            return arguments[0]
        if function.name not in _TENSORS or len(arguments) < _TENSORS[function.name]:
            raise self._refuse(f"a call of {function.name} with {len(arguments)} arguments")
        storage, offset, shape, strides = arguments[:4]
        offset = _count(offset)
        if isinstance(storage, View):
            storage, offset = storage.storage, storage.offset + offset
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without values")
        return Tensor(storage, offset, tuple(map(_count, shape)), tuple(map(_count, strides)))


_NOTHING = frozenset({"PROTO", "FRAME"})
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} where a number of values should be")
    return value
