from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.pipeline import Pipeline

from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.running.staleness.fingerprint import _other_models
from vd_forecasting.running.staleness.sources import Package, this_package, used
from vd_forecasting.vocabulary import EXPERIMENTS

STYLE = "vd_forecasting.rendering.plot_style"


def definitions(modules: Mapping[str, str], **more: Mapping[str, str]) -> dict[str, str]:
    """What ``p.a.start`` uses, by name."""
    return dict(used(Package("p", {"p": "", **modules}, **more), "p.a", "start").definitions)


def test_what_a_function_names_and_what_that_names() -> None:
    source = """
def start(): return middle()
def middle(): return END
END = 1
def other(): pass
"""
    assert set(definitions({"p.a": source})) == {"p.a.start", "p.a.middle", "p.a.END"}


@pytest.mark.parametrize(
    "source",
    [
        "from p.b import end\ndef start(): return end()",
        "from p.b import end as last\ndef start(): return last()",
        "import p.b\ndef start(): return p.b.end()",
        "import p.b as b\ndef start(): return b.end()",
        "from p import b\ndef start(): return b.end()",
        "from .b import end\ndef start(): return end()",
        "from . import b\ndef start(): return b.end()",
        "def start():\n    from p.b import end\n    return end()",
        "def start():\n    import p.b\n    return p.b.end()",
        "try:\n    from p.b import end\nexcept ImportError:\n    end = None\ndef start(): end()",
        "from p.b import end\n@end\ndef start(): pass",
        "from p.b import end\ndef start(x=end): pass",
        "from p.b import end\nclass start(end): pass",
        "from p.b import end\nclass start:\n    x: end",
        "from p.b import end\nx, (start, *y) = end()",
        "from p.c import end\ndef start(): return end()",
        "from p.b import end\nasync def start(): return [end(x) for x in ()]",
    ],
)
def test_every_way_to_import(source: str) -> None:
    modules = {"p.a": source, "p.b": "def end(): pass\ndef no(): pass", "p.c": "from .b import end"}
    found = set(definitions(modules))
    assert {"p.a.start", "p.b.end"} <= found
    assert "p.b.no" not in found


def test_a_module_passed_on_as_a_value_counts_whole() -> None:
    modules = {
        "p.a": "from p import b\ndef start(): return b",
        "p.b": "from p.c import further\ndef one(): pass\nTWO = 2",
        "p.c": "def further(): pass\ndef no(): pass",
    }
    assert set(definitions(modules)) == {"p.a.start", "p.b.one", "p.b.TWO", "p.c.further"}


def test_what_an_import_does_counts_also_of_packages_on_the_way() -> None:
    modules = {
        "p.a": "from p.q.b import end\ndef start(): return end()",
        "p.q": "import p.c",
        "p.q.b": "end = 1",
        "p.c": "TABLE = {}\nTABLE['x'] = 1\ndef no(): pass",
    }
    assert set(definitions(modules)) == {"p.a.start", "p.q.b.end", "p.c", "p.c.TABLE"}


def test_comments_docstrings_and_layout_do_not_count() -> None:
    before = '"""A."""\ndef start(x):\n    """B."""\n    return (x +  1)  # C\n'
    after = "def start(x):\n    '''D.'''\n\n    return x + 1"
    assert definitions({"p.a": before}) == definitions({"p.a": after})
    assert definitions({"p.a": before}) != definitions({"p.a": after.replace("1", "2")})


def test_a_type_annotation_is_no_use() -> None:
    source = "from p.b import end\ndef start(x: end) -> end:\n    y: end = x\n    return y"
    assert set(definitions({"p.a": source, "p.b": "end = 1"})) == {"p.a.start"}


def test_a_named_file_beside_the_module_counts() -> None:
    modules = {"p.a": "def start(): return open('look.css')"}
    one = definitions(modules, files={"p/look.css": "1", "q/look.css": "0", "p/other.css": "0"})
    assert one == definitions(modules) | {"p/look.css": "1"}


def test_other_packages_are_named() -> None:
    package = Package("p", {"p.a": "import x.y\nfrom z import w\ndef start(): x.y.z()"})
    assert used(package, "p.a", "start").packages == {"x"}


def test_modules_can_be_left_out() -> None:
    package = Package("p", {"p.a": "from p.b import end\ndef start(): end()", "p.b": "end = 1"})
    assert set(used(package, "p.a", "start", frozenset({"p.b"})).definitions) == {"p.a.start"}


FORMS = ("from p.m{0} import f{1} as g{1}", "import p.m{0} as m{0}", "from p import m{0}")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # the module a function lies in
            st.sets(st.integers(0, 9), max_size=3),  # the functions it calls
            st.booleans(),  # imports them inside of it
            st.sampled_from(FORMS),
        ),
        min_size=2,
        max_size=10,
    ),
    st.data(),
)
def test_a_function_changes_with_what_it_reaches_and_with_nothing_else(
    functions: list[tuple[int, set[int], bool, str]], data: st.DataObject
) -> None:
    calls = [{c for c in called if c < len(functions)} for _, called, _, _ in functions]

    def package(changed: int | None) -> Package:
        top: dict[int, list[str]] = {}
        bodies: dict[int, list[str]] = {}
        for index, (module, _, inside, form) in enumerate(functions):
            body = [f"    x = {'changed' if index == changed else 0!r}"]
            for called in sorted(calls[index]):
                there = functions[called][0]
                if there == module:
                    body.append(f"    f{called}()")
                    continue
                statement = form.format(there, called)
                if inside:
                    body.append(f"    {statement}")
                else:
                    top.setdefault(module, []).append(statement)
                name = f"g{called}" if " as g" in statement else f"m{there}.f{called}"
                body.append(f"    {name}()")
            bodies.setdefault(module, []).append("\n".join([f"def f{index}():", *body]))
        modules = {
            f"p.m{module}": "\n".join([*top.get(module, []), *parts])
            for module, parts in bodies.items()
        }
        return Package("p", {"p": "", **modules})

    changed = data.draw(st.integers(0, len(functions) - 1))
    reached: set[int] = set()
    todo = [0]
    while todo:
        index = todo.pop()
        if index not in reached:
            reached.add(index)
            todo.extend(calls[index])
    module = f"p.m{functions[0][0]}"
    before = used(package(None), module, "f0")
    after = used(package(changed), module, "f0")
    assert (before != after) == (changed in reached)
    assert len(before.definitions) == len(reached)


# --- this package ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything() -> Pipeline:
    return register_pipelines()["compare_all"]


def changed_nodes(pipeline: Pipeline, module: str, before: str, after: str) -> set[str]:
    """The nodes whose code differs if in ``module`` one text takes the place of another."""
    package = this_package()
    assert before in package.modules[module]
    other = Package(
        package.name,
        {**package.modules, module: package.modules[module].replace(before, after)},
        package.files,
    )

    def code(package: Package, name: str) -> object:
        node = nodes[name]
        return used(
            package, node.func.__module__, node.func.__name__, _other_models(node.namespace)
        )

    nodes = {node.name: node for node in pipeline.nodes}
    return {name for name in nodes if code(package, name) != code(other, name)}


def test_a_plot_colour_redraws_plots_and_nothing_else(everything: Pipeline) -> None:
    changed = changed_nodes(
        everything, STYLE, "COLOURS: Final = {", "COLOURS: Final = {'new': 'red', "
    )
    assert changed
    assert all("plot_" in name for name in changed)


@pytest.mark.parametrize(("model", "other"), [("lstm", "xlstm"), ("xlstm", "lstm")])
def test_a_core_is_used_by_its_own_experiments(
    everything: Pipeline, model: str, other: str
) -> None:
    module = f"vd_forecasting.models.{model}"
    changed = changed_nodes(everything, module, "super().__init__()", "super().__init__(); pass")
    assert changed == {
        f"{experiment}.{node}"
        for experiment in EXPERIMENTS
        if not experiment.endswith(f"_{other}")
        for node in ("train", "evaluate", "measure_cost")
    }


def test_the_compiled_kernels_count_for_the_xlstm(everything: Pipeline) -> None:
    module = "vd_forecasting.models.fused_xlstm.numba_kernels"
    changed = changed_nodes(everything, module, "import math", "import math\nmath.new = 1")
    assert {name.split(".")[0] for name in changed} == {
        experiment for experiment in EXPERIMENTS if experiment.endswith("xlstm")
    }


def test_the_style_sheet_counts_for_the_page_that_it_styles() -> None:
    module = "vd_forecasting.pipelines.reporting.pages.comprehensive_page"
    code = used(this_package(), module, "render_comprehensive")
    assert "vd_forecasting.rendering/page.css" in code.definitions


def test_only_an_xlstm_uses_the_xlstm_package() -> None:
    module = "vd_forecasting.pipelines.training.train"
    lstm = used(this_package(), module, "train_lstm", _other_models("single_vd_lstm"))
    xlstm = used(this_package(), module, "train_xlstm", _other_models("single_vd_xlstm"))
    assert lstm.packages & {"torch", "xlstm"} == {"torch"}
    assert xlstm.packages & {"torch", "xlstm"} == {"torch", "xlstm"}
