"""report: one page without other files, with the figures of df and list, for mouse and keyboard."""

from __future__ import annotations

import html.parser
import json
import os
import random
import re
import time
from typing import TYPE_CHECKING, Any

import pipm
import pytest
from pipm.cli.report_output import page_of
from support.browser import Page, browser
from support.pipm import Pipm, assert_refused
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Reader(html.parser.HTMLParser):
    """Collects elements with their attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def read(path: str) -> tuple[Reader, dict[str, Any]]:
    reader = Reader()
    with open(path, encoding="utf-8") as file:
        reader.feed(file.read())
    data: dict[str, Any] = json.loads(reader.scripts[0])
    return reader, data


def environments_of(pipm: Pipm, folder: str) -> None:
    """Three environments: two adopted, one not, with a path that wants to break out of the page."""
    names = ("one", "two", "own </script><b>'\"&")
    made = [make_environment(os.path.join(folder, name)) for name in names]
    for environment in made:
        install(environment, "alpha==1.0", package("alpha"))
    install(made[0], "beta==1.0", {"beta/data.bin": os.urandom(2_000_000)})
    pipm.adopt(made[0].path, made[1].path)


def test_figures_are_those_of_df_and_list(pipm: Pipm, tmp_path: Path) -> None:
    environments_of(pipm, str(tmp_path))
    page = str(tmp_path / "page.html")
    pipm("report", str(tmp_path), "-o", page).expect()
    reader, data = read(page)
    report = pipm("df", "--json").expect().json
    listed = {row["path"]: row for row in pipm("list", str(tmp_path), "--json").expect().json["environments"]}
    assert data["saved"] == report["saved"]
    assert data["store"]["on_disk"] == report["store"]["on_disk"]
    assert data["store"]["reclaimable"] == report["store"]["reclaimable"]
    exclusive = sum(row["exclusive"] for row in listed.values())
    assert data["total"] == report["store"]["on_disk"] + report["outside"] + exclusive
    assert {one["path"] for one in data["environments"]} == set(listed)
    for one in data["environments"]:
        row = listed[one["path"]]
        for key in ("kind", "state", "python", "distributions", "apparent", "on_disk", "exclusive"):
            assert one[key] == row[key], key
        assert one["adopting"] == row.get("adopting_frees")
    names = {data["entries"][index][0] for index in data["environments"][0]["entries"]}
    assert names == {"alpha", "beta"}
    for tag, attributes in reader.elements:
        assert not {"src", "href", "style"} & set(attributes), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert os.stat(page).st_mode & 0o077 == 0
    assert pipm("report", "-o", "-").expect().out.startswith("<!doctype html>")


def test_where_it_cannot_be_written(pipm: Pipm, tmp_path: Path) -> None:
    assert_refused(pipm("report", "-o", str(tmp_path), "--json"), "-o report.html", code=2)
    empty = tmp_path / "empty.html"
    told = pipm("report", "-o", str(empty)).expect()
    assert "nothing was written" in told.out
    assert not empty.exists()
    pipm.adopt(make_environment(str(tmp_path / "env")).path)
    assert_refused(pipm("report", "-o", str(tmp_path / "no/page.html"), "--json"), "no/page.html")


def crowd(number: int) -> dict[str, object]:
    """Return a page's data with so many environments of 150 distributions."""
    source = random.Random(7)
    entries = [
        (f"package{n}", f"{n % 7}.{n % 3}", int(10 ** source.uniform(4, 7.9)), n % 41 == 0)
        for n in range(600)
    ]
    states = ("adopted", "synced", "own copy", "missing")
    rows = []
    for index in range(number):
        state = source.choices(states, (60, 25, 12, 3))[0]
        chosen = sorted(source.sample(range(600), 150)) if state in states[:2] else []
        own = int(10 ** source.uniform(5.5, 8.5))
        parts = [(f"package{n} 1.0", source.randrange(10**4, 10**7)) for n in range(40)]
        on_disk = own + sum(entries[n][2] for n in chosen)
        rows.append(
            {
                "path": f"~/code/team{index % 23}/project-{index}/.venv",
                "kind": "venv",
                "state": state,
                "note": "",
                "python": f"3.{9 + index % 5}.{index % 8}",
                "distributions": 150 if chosen else 40,
                "apparent": on_disk,
                "on_disk": 0 if state == "missing" else on_disk,
                "exclusive": 0 if state == "missing" else own,
                "about": index % 3 == 0 and state != "missing",
                "used": 1_760_000_000 - index * 40_000,
                "adopting": own if state == "own copy" else None,
                "entries": chosen,
                "parts": parts if state == "own copy" else [],
                "rest": 0 if state == "missing" else own,
            }
        )
    store = {"path": "~/.local/share/pipm", "on_disk": sum(row[2] for row in entries), "reclaimable": 10**9}
    top = {"version": "1", "generated": 1_760_000_000, "oldest": 1_759_900_000, "folder": "~/code"}
    return top | {"saved": 10**12, "total": 10**11, "store": store, "entries": entries, "environments": rows}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as page:
        page.size(1320, 1250)
        yield page


def load(page: Page, tmp_path: Path, number: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(crowd(number)), encoding="utf-8")
    page.errors.clear()
    page.open(str(path))


def text(page: Page, element: str) -> str:
    return str(page.run(f"document.getElementById('{element}').textContent"))


def first_cells(page: Page, column: int) -> list[str]:
    script = f"[...document.querySelectorAll('tbody tr')].map(row => row.cells[{column}].textContent)"
    found: list[str] = page.run(script)
    return found


def test_it_draws_itself_and_asks_for_nothing(page: Page, tmp_path: Path) -> None:
    load(page, tmp_path, 5)
    assert page.errors == []
    assert "pipm gc --missing" not in text(page, "cards")
    assert page.run("document.querySelectorAll('tbody tr').length") == 5
    painted = (
        "(() => { const c = document.getElementById('map'), d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data, seen = new Set();"
        "for (let i = 0; i < d.length; i += 400) seen.add(d[i] + ' ' + d[i + 1] + ' ' + d[i + 2]);"
        "return [...seen]; })()"
    )
    page.scheme("light")
    light = set(page.run(painted))
    page.scheme("dark")
    dark = light
    for _ in range(50):  # it is drawn when the browser gets to it
        if dark == light:
            page.run("new Promise(done => setTimeout(done, 100))")
            dark = set(page.run(painted))
    assert len(light) > 3
    assert light != dark
    colours = [page.run("getComputedStyle(document.body).backgroundColor")]
    page.scheme("light")
    colours.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(18, 22, 29)", "rgb(246, 247, 249)"]
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.run(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/'}))"
    )
    page.run("new Promise(done => setTimeout(done, 100))")
    assert [error for error in page.errors if "Content Security Policy" in error]


def test_hover_and_keyboard_walk_the_map(page: Page, tmp_path: Path) -> None:
    load(page, tmp_path, 5)
    map_ = "document.getElementById('map')"
    box = page.run(f"(b => [b.left, b.top, b.width, b.height])({map_}.getBoundingClientRect())")
    page.mouse("mouseMoved", box[0] + box[2] / 4, box[1] + box[3] / 2)
    assert page.run("document.getElementById('tip').hidden") is False
    assert "deleting it frees" in text(page, "tip")
    inside = (
        "(t => t.left >= 0 && t.right <= innerWidth)(document.getElementById('tip').getBoundingClientRect())"
    )
    assert page.run(inside)
    page.run("document.getElementById('map').focus()")
    seen = set()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        page.key(key)
        seen.add(text(page, "spoken"))
    assert len(seen) > 1
    page.key("Enter")
    assert re.search(r"All environments . ~/code/\S+", text(page, "path"))
    page.key("ArrowRight")
    assert re.match(r"package\d+|its own|bytecode", text(page, "spoken"))
    page.key("Escape")
    assert text(page, "path") == ""
    page.mouse("mousePressed", box[0] + 30, box[1] + 30)
    page.mouse("mouseReleased", box[0] + 30, box[1] + 30)
    assert "All environments" in text(page, "path")
    page.run("document.querySelector('[data-view=distributions]').click()")
    assert "All distributions" in page.run("document.getElementById('map').getAttribute('aria-label')")
    assert page.errors == []


def test_sorting_and_filtering(page: Page, tmp_path: Path) -> None:
    load(page, tmp_path, 40)
    assert page.run("document.querySelector('th[aria-sort=descending]').textContent") == "Exclusive"
    click = "[...document.querySelectorAll('th button')].find(b => b.textContent === '{}')"
    page.run(click.format("Environment") + ".click()")
    paths = first_cells(page, 0)
    numbers = [[int(n) for n in re.findall(r"\d+", path)] for path in paths]
    assert numbers == sorted(numbers)  # team2 before team10
    page.run(click.format("Environment") + ".focus()")
    page.key("Enter")
    assert first_cells(page, 0) == paths[::-1]
    assert page.run("document.activeElement.textContent") == "Environment"  # the keyboard stays where it was
    page.run("document.getElementById('filter').value = 'team7/'")
    page.run("document.getElementById('filter').dispatchEvent(new Event('input'))")
    shown = first_cells(page, 0)
    assert shown == [path for path in paths[::-1] if "team7/" in path]
    assert text(page, "matches") == f"{len(shown)} of 40"
    page.run("document.querySelector('[data-list=distributions]').click()")
    assert page.run("document.querySelector('th').textContent") == "Distribution"
    assert page.errors == []


def test_the_list_fits_a_laptop(page: Page, tmp_path: Path) -> None:
    """Long paths give way to the columns beside them, sorted by the one with the longest title."""
    document = crowd(30)
    rows = document["environments"]
    assert isinstance(rows, list)
    for number, row in enumerate(rows):
        row["path"] = f"/srv/{'customer-' * 9}{number}/services/backend-{number}/.venv"
        row["exclusive"] *= 37
    path = tmp_path / "page.html"
    path.write_text(page_of(document), encoding="utf-8")
    page.size(1280, 900)
    page.open(str(path))
    page.run("[...document.querySelectorAll('th button')].find(b => /frees/.test(b.textContent)).click()")
    assert page.run("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))") == 0
    assert page.run("document.querySelector('td.name').offsetWidth") > 200
    page.size(1320, 1250)


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_nothing_is_cut_off_or_covered(page: Page, tmp_path: Path, width: int) -> None:
    page.size(width, 900)
    load(page, tmp_path, 12)
    edges = "['header', 'main', 'footer'].map(name => (e => e.getBoundingClientRect().left"
    edges += " + parseFloat(getComputedStyle(e).paddingLeft))(document.querySelector(name)))"
    assert len(set(page.run(edges))) == 1
    assert page.run("document.querySelector('h1').getBoundingClientRect().top") > 12
    cut = "filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
    assert page.run(f"[...document.querySelectorAll('td.name button, .card *')].{cut}") == []
    page.run("document.getElementById('filter').focus()")
    page.key("Tab")  # the list, which scrolls
    titles = page.run("[...document.querySelectorAll('th')].map(cell => cell.textContent)")
    for title in [*titles, *first_cells(page, 0)]:
        page.key("Tab")
        seen = (
            "(e => { const b = e.getBoundingClientRect();"
            "const top = document.elementFromPoint(b.left + b.width / 2, b.top + b.height / 2);"
            "return [e.textContent, e.contains(top), getComputedStyle(e).outlineStyle]; })"
        )
        assert page.run(f"{seen}(document.activeElement)") == [title, True, "solid"]
    page.run("document.querySelector('.scroll').scrollLeft = 1e6")
    name = "document.activeElement.getBoundingClientRect()"
    path = first_cells(page, 0)[-1]
    x, y = page.run(f"(b => [b.left + b.width / 2, b.top + b.height / 2])({name})")
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(kind, x, y)
    assert text(page, "path").endswith(path)
    page.size(1320, 1250)


def test_the_words_in_the_map_are_readable() -> None:
    """Each colour has the contrast to its words that WCAG 2 asks for, 4.5."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    with open(f"{os.path.dirname(pipm.__file__)}/cli/page/report.css", encoding="utf-8") as file:
        schemes = re.findall(r":root {(.*?)}", file.read(), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): #(\w{6})", scheme))
        for name in ("shared", "alone", "own", "unused"):
            assert (luminance(colours["label"]) + 0.05) / (luminance(colours[name]) + 0.05) >= 4.5, name


@pytest.mark.parametrize("width", [390, 800])
def test_a_narrow_window_shows_what_is_sorted_by(page: Page, tmp_path: Path, width: int) -> None:
    page.size(width, 900)
    load(page, tmp_path, 40)
    inside = (
        "[...document.querySelectorAll('th:not([aria-sort=none]), td.sorted')].slice(0, 9).every(cell => {"
        "const b = cell.getBoundingClientRect();"
        "const s = document.querySelector('.scroll').getBoundingClientRect();"
        "return b.left >= s.left - 1 && b.right <= s.right + 1; })"
    )
    for title in ("Exclusive", "Apparent", "Last used"):
        click = f"[...document.querySelectorAll('th button')].find(b => b.textContent === '{title}')"
        page.run(f"{click}.click()")
        assert page.run(inside), title
        page.run("document.querySelector('.scroll').scrollLeft = 1e6")
        assert page.run(inside), title
        page.run("document.querySelector('.scroll').scrollLeft = 0")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.size(1320, 1250)


def words_drawn(page: Page) -> str:
    """Draw the map again and return the texts in it."""
    script = (
        "new Promise(done => { const seen = [], write = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {"
        " seen.push(text); write.call(this, text, ...rest); };"
        "document.querySelector('[data-view][aria-pressed=true]').click();"
        "CanvasRenderingContext2D.prototype.fillText = write; done(seen.join('\\n')); })"
    )
    return str(page.run(script))


def test_the_map_by_what_deleting_frees(page: Page, tmp_path: Path) -> None:
    """Its areas are the exclusive bytes of the list; large areas have labels."""
    document = crowd(5)
    rows = document["environments"]
    assert isinstance(rows, list)
    rows[0]["exclusive"] = 700 << 20
    for row in rows[1:]:
        row["exclusive"] = 0
    path = tmp_path / "page.html"
    path.write_text(page_of(document), encoding="utf-8")
    page.open(str(path))
    assert re.search(r"project-\d, [0-9.]+ [GM]iB", words_drawn(page))
    page.run("document.querySelector('[data-view=exclusive]').click()")
    label = page.run("document.getElementById('map').getAttribute('aria-label')")
    assert label == "Map of All environments: 1 area"
    assert "700.0 MiB" in words_drawn(page)
    assert text(page, "map-help").startswith("Area is what deleting an environment frees")
    assert page.errors == []


@pytest.mark.timing
def test_a_thousand_environments_stay_usable(page: Page, tmp_path: Path) -> None:
    started = time.monotonic()
    load(page, tmp_path, 1000)
    assert "pipm gc --missing" in text(page, "cards")  # some environments are missing
    loaded = time.monotonic() - started
    empty = time.monotonic()
    load(page, tmp_path, 1)
    floor = time.monotonic() - empty
    load(page, tmp_path, 1000)
    assert page.run("document.querySelectorAll('tbody tr').length") == 1000
    assert loaded < floor + 20  # a loaded machine's seconds; a quiet one takes a half
    took = page.run(
        "(() => { const t = performance.now();"
        "for (let i = 0; i < 3; i++) document.querySelectorAll('th button')[i].click();"
        "return performance.now() - t; })()"
    )
    assert took < 6000
    # The map shows folders that lead to environments; the list leads there at once.
    label = "document.getElementById('map').getAttribute('aria-label')"
    assert page.run(label) == "Map of All environments: 23 areas"
    page.run("document.getElementById('map').focus()")
    page.key("ArrowRight")
    assert re.match(
        r"~/code/team\d+/, .*, \d+ environments, deleting them frees at least", text(page, "spoken")
    )
    page.key("Enter")
    assert re.fullmatch(r"All environments . ~/code/team\d+/", text(page, "path"))
    page.key("ArrowRight")
    page.key("Enter")
    assert re.search(r"team\d+/ . ~/code/team\d+/project-\d+/.venv$", text(page, "path"))
    page.run("document.querySelectorAll('td button')[700].click()")
    chosen = page.run("document.querySelectorAll('td button')[700].textContent")
    assert text(page, "path").endswith(f"/ \u203a {chosen}")
    assert page.errors == []
