"""docs/conformance.md is true: each decision names code that exists and a page that tells more."""

from __future__ import annotations

import re

from pages import DOCS, ROOT, code, defined, found, read, rows

HEAD = ("question", "what ocppsync does", "where", "page")
NAMED = re.compile(r"`([\w/]+\.py)` (`[\w.]+`(?:, `[\w.]+`)*)")


def decisions() -> list[list[str]]:
    """Return the rows of all tables of decisions."""
    text = read(DOCS / "conformance.md")
    heads = re.findall(r"^### (.+)$", text.partition("## Decisions")[2], re.MULTILINE)
    assert len(heads) == text.count("| " + " | ".join(HEAD) + " |")
    return [row for line in sections(text) for row in line]


def sections(text: str) -> list[list[list[str]]]:
    """Return the tables of decisions, one for each heading."""
    tables = []
    for section in re.split(r"^### ", text.partition("## Decisions")[2], flags=re.MULTILINE)[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")][2:]
        tables.append([[cell.strip() for cell in line.strip("|").split("|")] for line in lines])
    return tables


def test_each_decision_has_four_cells_and_a_question_of_its_own() -> None:
    table = decisions()
    assert len(table) > 70
    assert [row[0] for row in table if len(row) != len(HEAD) or not all(row)] == []
    assert [row[0] for row in table if not row[0].endswith("?")] == []
    assert len({row[0] for row in table}) == len(table)


def test_the_code_of_each_decision_exists() -> None:
    for row in decisions():
        named = [(file, name) for file, names in NAMED.findall(row[2]) for name in code(names)]
        files = {span for span in code(row[2]) if span.endswith(".py")}
        assert named and {file for file, _ in named} == files, row[0]
        for file, name in named:
            path = found(file)
            assert path is not None, file
            assert name in defined(path), f"{file} does not define {name}"


def test_each_decision_links_to_a_page_of_the_documentation() -> None:
    """That links lead somewhere is checked by test_docs.py."""
    for row in decisions():
        assert re.fullmatch(r"\[[^\]]+\]\([\w./-]+\.md(#[\w-]+)?\)", row[3]), row[0]


def test_the_documents_are_those_that_the_pages_cite() -> None:
    cited = {name for row in rows("index.md", "short", "document") for name in row[0].split(", ")}
    listed = " ".join(row[0] for row in rows("conformance.md", "document", "edition"))
    assert {name for name in cited if not re.search(rf"\b{re.escape(name)}\b", listed)} == set()


def test_the_page_is_easy_to_find() -> None:
    assert "docs/conformance.md" in read(ROOT / "README.md")
    assert "(conformance.md)" in read(DOCS / "index.md")


def test_a_name_that_is_gone_is_noticed() -> None:
    path = found("rpc/engine.py")
    assert path is not None
    assert "Engine.look" in defined(path)
    assert "Engine.swallow" not in defined(path)
    assert found("rpc/motor.py") is None
