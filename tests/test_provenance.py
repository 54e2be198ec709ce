"""Which modules a function uses, in small made packages and in this one."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.pipeline import Node, Pipeline

from vd_forecasting import provenance
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.pipelines.training.train_nodes import train_lstm, train_xlstm
from vd_forecasting.provenance import (
    EXEMPT,
    Code,
    Package,
    code_digest,
    code_of,
    this_package,
    used,
)
from vd_forecasting.running.staleness.fingerprint import _other_models
from vd_forecasting.vocabulary import EXPERIMENTS

STYLE = "vd_forecasting.rendering.plot_style"


def digests(
    modules: Mapping[str, str], files: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """What ``p.a`` uses, by name."""
    return dict(used(Package("p", {"p": "", **modules}, files), "p.a").digests)


@pytest.mark.parametrize(
    "source",
    [
        "from p.b import end",
        "from p.b import end as last",
        "import p.b",
        "import p.b as b",
        "from p import b",
        "from .b import end",
        "from . import b",
        "def start():\n    from p.b import end",
        "class A:\n    def start(self):\n        import p.b",
        "try:\n    from p.b import end\nexcept ImportError:\n    end = None",
        "from p.c import end",
        "import x.y, p.b",
    ],
)
def test_every_way_to_import(source: str) -> None:
    modules = {"p.a": source, "p.b": "def end(): pass", "p.c": "from .b import end", "p.d": ""}
    found = set(digests(modules))
    assert {"p.a", "p.b"} <= found
    assert not {"p", "p.d"} & found


def test_an_import_from_a_package_leads_to_the_module_that_defines_the_name() -> None:
    modules = {
        "p.a": "from p.q import one, THREE",
        "p.q": "from p.q.b import one\nfrom p.q.c import two",
        "p.q.b": "one = 1",
        "p.q.c": "two = 2",
    }
    assert set(digests({**modules, "p.a": "from p.q import one"})) == {"p.a", "p.q.b"}
    modules["p.q"] += "\nTHREE = 3"
    assert set(digests(modules)) == {"p.a", "p.q", "p.q.b", "p.q.c"}


def test_comments_docstrings_and_layout_do_not_count() -> None:
    before = '"""A."""\ndef start(x):\n    """B."""\n    return (x +  1)  # C\n'
    after = "def start(x):\n    '''D.'''\n\n    return x + 1"
    assert digests({"p.a": before}) == digests({"p.a": after})
    assert digests({"p.a": before}) != digests({"p.a": after.replace("1", "2")})


def test_a_named_file_beside_the_module_counts() -> None:
    modules = {"p.a": "def start(): return open('look.css')"}
    one = digests(modules, files={"p/look.css": "1", "q/look.css": "0", "p/other.css": "0"})
    assert one == digests(modules) | {"p/look.css": "1"}


def test_templates_count_for_the_modules_beside_their_folder() -> None:
    modules = {"p.a": "import p.b", "p.b": "", "p.q": "", "p.q.c": ""}
    files = {"p.templates/page.md.j2": "1", "p.q.templates/page.md.j2": "2"}
    one = digests(modules, files=files)
    assert one == digests(modules) | {"p.templates/page.md.j2": "1"}


def test_other_packages_are_named() -> None:
    package = Package("p", {"p.a": "import x.y\nfrom z import w", "p.b": "import v"})
    assert used(package, "p.a").packages == {"x", "z"}


def test_modules_and_packages_can_be_left_out() -> None:
    modules = {"p.a": "import p.b\nimport p.q.c", "p.b": "", "p.q": "", "p.q.c": "import p.d"}
    package = Package("p", {**modules, "p.d": "", "p.qq": ""})
    assert set(used(package, "p.a", {"p.b", "p.q"}).digests) == {"p.a"}


FORMS = ("from p.m{0} import f as g{0}", "import p.m{0}", "from p import m{0}")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(0, 9), max_size=3),  # the modules it imports
            st.booleans(),  # inside of a function
            st.sampled_from(FORMS),
        ),
        min_size=2,
        max_size=10,
    ),
    st.data(),
)
def test_a_module_changes_with_what_it_reaches_and_with_nothing_else(
    modules: list[tuple[set[int], bool, str]], data: st.DataObject
) -> None:
    def package(changed: int | None) -> Package:
        sources = {}
        for index, (imported, inside, form) in enumerate(modules):
            imports = [form.format(other) for other in imported if other < len(modules)]
            value = "changed" if index == changed else 0
            separator = "\n    " if inside else "\n"
            sources[f"p.m{index}"] = separator.join(
                ["def f():" if inside else "f = 1", *imports, f"x = {value!r}"]
            )
        return Package("p", {"p": "", **sources})

    changed = data.draw(st.integers(0, len(modules) - 1))
    reached: set[int] = set()
    todo = [0]
    while todo:
        index = todo.pop()
        if index not in reached and index < len(modules):
            reached.add(index)
            todo.extend(modules[index][0])
    before, after = used(package(None), "p.m0"), used(package(changed), "p.m0")
    assert (before != after) == (changed in reached)
    assert len(before.digests) == len(reached)


def test_what_was_parsed_is_kept_for_as_long_as_the_source_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", saved.append)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "parsed.json"

    def codes(source: str) -> Code:
        package = Package("p", {"p.a": source, "p.b": "import x", "p.b.c": ""})
        provenance._keep(package, path)
        found = used(package, "p.a")
        saved.pop()()
        return found

    first = codes("from p.b import c")
    assert set(first.digests) == {"p.a", "p.b.c"}
    monkeypatch.setattr(provenance, "_read", None)  # nothing is parsed
    assert codes("from p.b import c") == first
    monkeypatch.undo()
    monkeypatch.setattr("atexit.register", saved.append)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert codes("from p import b") != first
    path.write_text("{")  # a disk that was full
    assert codes("from p.b import c") == first


# --- this package ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything() -> Pipeline:
    pipelines = register_pipelines()
    asked_for = (pipelines[name] for name in ("ingest", "forecast", "export", "tune"))
    return sum(asked_for, pipelines["compare_all"])


def changed_nodes(pipeline: Pipeline, name: str) -> set[str]:
    """The nodes whose code differs if a module or another file is changed."""
    package = this_package()
    if name in package.modules:
        other = Package(
            package.name,
            {**package.modules, name: package.modules[name] + "\nnew = 1\n"},
            package.files,
        )
    else:
        assert name in package.files
        other = Package(package.name, package.modules, {**package.files, name: "changed"})

    def code(package: Package, node: Node) -> object:
        return used(package, node.func.__module__, {*EXEMPT, *_other_models(node.namespace)})

    return {node.name for node in pipeline.nodes if code(package, node) != code(other, node)}


def test_a_plot_colour_redraws_plots_and_their_pages_and_nothing_else(
    everything: Pipeline,
) -> None:
    changed = changed_nodes(everything, STYLE)
    rooms = {node.func.__module__ for node in everything.nodes if node.name in changed}
    assert any("reporting" in room for room in rooms)
    assert all(any(name in room for name in ("page", "data_quality")) for room in rooms)


@pytest.mark.parametrize(("model", "other"), [("lstm", "xlstm"), ("xlstm", "lstm")])
def test_a_core_is_used_by_its_own_experiments(
    everything: Pipeline, model: str, other: str
) -> None:
    module = f"vd_forecasting.models.{model}"
    changed = changed_nodes(everything, module)
    own = [experiment for experiment in EXPERIMENTS if not experiment.endswith(f"_{other}")]
    users = {name for name in changed if name.startswith(("forecast_", "export_", "tune_"))}
    assert changed - users == {
        f"{experiment}.{node}"
        for experiment in own
        for node in ("begin_training", "train", "evaluate", "measure_cost")
    }
    assert {name.split(".")[0] for name in users} == {
        f"{use}_{name}" for use in ("forecast", "export", "tune") for name in own
    }


def test_the_compiled_kernels_count_for_the_xlstm(everything: Pipeline) -> None:
    module = "vd_forecasting.models.fused_xlstm.compiled.mlstm_kernels"
    changed = changed_nodes(everything, module)
    spaces = {name.split(".")[0] for name in changed}
    assert {re.sub("^(forecast|export|tune)_", "", name) for name in spaces} == {
        experiment for experiment in EXPERIMENTS if experiment.endswith("xlstm")
    }


def test_a_template_or_a_style_sheet_renders_pages_again_and_trains_nothing(
    everything: Pipeline,
) -> None:
    files = this_package().files
    texts = [name for name in files if name.endswith((".md.j2", ".css"))]
    assert texts
    for name in texts:
        steps = {node.split(".")[-1] for node in changed_nodes(everything, name)}
        assert bool(steps) != ("serving/" in name), name  # no node serves
        assert not steps & {"clean", "make_windows", "train", "evaluate", "forecast_baselines"}


def test_only_an_xlstm_uses_the_xlstm_package() -> None:
    lstm = code_of(train_lstm, _other_models("single_vd_lstm"))
    xlstm = code_of(train_xlstm, _other_models("single_vd_xlstm"))
    assert lstm.packages & {"torch", "xlstm"} == {"torch"}
    assert xlstm.packages & {"torch", "xlstm"} == {"torch", "xlstm"}


def test_the_digest_of_a_training_holds_its_models_and_its_loop() -> None:
    used_by_it = code_of(train_xlstm).digests
    for name in ("models.xlstm", "models.lstm", "pipelines.training.loop", "evaluation.metrics"):
        assert f"vd_forecasting.{name}" in used_by_it
    module = "vd_forecasting.pipelines.training.{}"
    assert code_digest(module.format("train")) != code_digest(module.format("windows"))
