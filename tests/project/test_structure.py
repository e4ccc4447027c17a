"""The code stays in small pieces, and the tests of a part are in the folder of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.structure import PACKAGE, TESTS, folders, functions, longer_than, modules, rooms

LONGEST_MODULE = 400  # lines
LONGEST_FUNCTION = 50  # lines
LARGEST_FOLDER = 15  # modules
LONGEST_TEST_NAME = 80  # characters

# Test folders that are about no single part of the package.
OF_THE_WHOLE = {"app", "example_app", "project", "support"}


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=lambda folder: folder.name)
def test_no_module_is_too_long(folder: Path) -> None:
    too_long = longer_than(LONGEST_MODULE, modules(folder))
    assert not too_long, "\n".join(too_long)


def test_no_function_is_too_long() -> None:
    too_long = longer_than(LONGEST_FUNCTION, functions(PACKAGE))
    assert not too_long, "\n".join(too_long)


def test_no_folder_has_too_many_modules() -> None:
    too_large = longer_than(LARGEST_FOLDER, folders(PACKAGE))
    assert not too_large, "\n".join(too_large)


def test_no_test_has_too_long_a_name() -> None:
    names = [function.name.rpartition(":")[2] for function in functions(TESTS)]
    too_long = [name for name in names if name.startswith("test_") and len(name) > LONGEST_TEST_NAME]
    assert not too_long, "\n".join(too_long)


@pytest.mark.parametrize("folder", [TESTS, TESTS / "client"], ids=lambda folder: folder.name)
def test_test_folders_mirror_the_package(folder: Path) -> None:
    assert rooms(folder) - OF_THE_WHOLE <= rooms(PACKAGE / folder.relative_to(TESTS))
