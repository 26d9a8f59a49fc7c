"""Options that commands share, and those of the program itself."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from conftest import Run

import perftrack as package
from perftrack.cli import options


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(perftrack: Run, option: str) -> None:
    assert perftrack(option).stdout == f"perftrack {package.__version__}\n"


class TestARanking:
    @pytest.fixture
    def app(self) -> typer.Typer:
        app = typer.Typer()

        @app.command()
        def top(by: Annotated[str, typer.Option(parser=options.ranking)] = "cpu") -> str:
            return by

        return app

    @pytest.mark.parametrize(
        ("given", "by"),
        [
            ([], "cpu"),
            *((["--by", name], name) for name in options.RANKINGS),
            (["--by", "memory"], "rss"),
            (["--by=mem"], "rss"),
        ],
    )
    def test_is_known_by_its_other_names_too(self, app: typer.Typer, given: list[str], by: str) -> None:
        assert app(given, standalone_mode=False) == by

    @pytest.mark.parametrize("by", ["memry", "", "RSS"])
    def test_is_one_of_those_that_the_error_names(self, app: typer.Typer, by: str) -> None:
        with pytest.raises(typer.TyperException) as error:
            app(["--by", by], standalone_mode=False)
        assert f"{by!r} is not one of 'cpu', 'rss', 'io', 'threads'." in error.value.format_message()
